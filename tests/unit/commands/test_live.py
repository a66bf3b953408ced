"""`cappuccino live`: every gate before real money, with the account asked from a loopback Coinbase."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cappuccino.cli import main
from cappuccino.store.warehouse import Warehouse
from tests.loopback import coinbase_trading
from tests.loopback.exchange import Exchange, running
from tests.loopback.handler import body
from tests.unit.small_lab import save_model
from tests.unit.small_live import ACCOUNT, DAY, HOUR, MODEL, NOW, confirm, gaining, put_in_production, put_live, trade
from tests.unit.small_market import SYMBOLS

KEYS = {"COINBASE_API_KEY": coinbase_trading.KEY, "COINBASE_API_SECRET": coinbase_trading.SECRET}
Live = Callable[..., Result]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with running(tmp_path_factory.mktemp("certificates")) as exchange:
        yield exchange


@pytest.fixture
def exchange(served: Exchange) -> Exchange:
    served.reset()
    return served


@pytest.fixture(scope="module")
def desk_folder(tmp_path_factory: pytest.TempPathFactory, first_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    warehouse = Warehouse(Path(shutil.copy(first_file, folder)))
    put_in_production(warehouse)
    trade(warehouse, gaining(96))
    _set_present(warehouse)
    save_model(folder / "artifacts", MODEL, NOW, symbols=SYMBOLS)
    return folder


@pytest.fixture
def desk(tmp_path: Path, desk_folder: Path) -> Warehouse:
    """A warehouse whose present is NOW, with a model of real bars in production and two green days."""
    shutil.copytree(desk_folder, tmp_path, dirs_exist_ok=True)
    return Warehouse(tmp_path / "cappuccino.duckdb")


def _set_present(warehouse: Warehouse) -> None:
    with warehouse.write() as writer:
        writer.execute(
            """
            insert into ops.syncs (
                synced_at_utc, source, interval, from_utc, to_utc, symbols, bars, fingerprint, record_ends_utc
            )
            values ($now, 'coinbase', '1h', $now, $now, ['BTC/USD'], 0, 'f', $now)
            """,
            now=NOW,
        )


@pytest.fixture
def live(desk: Warehouse, exchange: Exchange) -> Live:
    """The command, with every switch on; `switch` and `typed` change what the operator does."""

    def call(*arguments: str, switch: bool = True, typed: str | None = None, keys: bool = True) -> Result:
        folder = desk.file.parent
        config = folder / "live.toml"
        config.write_text(
            'profile = "live"\n'
            f'[market]\nsymbols = {json.dumps(list(SYMBOLS))}\nsource = "coinbase"\n'
            f'[coinbase]\nbase_url = "{exchange.coinbase_host}"\nmax_attempts = 1\n'
            f"[live]\nenabled = {json.dumps(switch)}\n"
        )
        options = ["--config", str(config), "--warehouse", str(folder)]
        environment = KEYS if keys else dict.fromkeys(KEYS)
        return CliRunner(env=environment).invoke(
            main, ["live", *arguments, *options], input=typed, catch_exceptions=False
        )

    return call


def confirmations(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return warehouse.query(
        "select account_id, step, capital_usd, reason from promotion.live_confirmations order by sequence"
    ).rows()


def test_the_way_to_real_money_and_back(live: Live, desk: Warehouse) -> None:
    before = json.loads(live("status", "--json").stdout)
    assert before["permission"] is None
    assert [(row["gate"], row["passes"]) for row in before["green_light"]] == [
        (gate, True) for gate in ("days", "alpha", "sharpe", "drawdown", "errors", "market")
    ]
    assert {row["gate"]: row["passes"] for row in before["gates"]} == {
        "switch": True,
        "live model": False,
        "confirmation": False,
        "step 1": False,
    }

    promoted = live("promote", "--reason", "I trust it")
    assert promoted.exit_code == 0, promoted.stderr
    assert f"{MODEL}: production -> live (I trust it)" in promoted.stdout
    assert "No real money is traded." in live("status").stdout

    confirmed = live("confirm", "--step", "1", typed=f"{ACCOUNT[-6:]}\n")
    assert confirmed.exit_code == 0, confirmed.stderr
    assert f"REAL MONEY: account {ACCOUNT} at coinbase" in confirmed.stderr
    assert "cash: 100,000.00 USD, of which 100,000.00 can be spent" in confirmed.stderr
    assert f"may trade 100.00 USD of REAL MONEY on account {ACCOUNT} (step 1)" in confirmed.stdout
    assert confirmations(desk) == [(ACCOUNT, 1, 100.0, "the operator confirmed it")]

    after = json.loads(live("status", "--json").stdout)
    assert after["permission"] == {"model": str(MODEL), "capital_usd": 100.0}
    (coming,) = [row for row in after["gates"] if row["gate"] == "step 2"]
    assert (coming["passes"], coming["detail"]) == (
        False,
        "profit: the account has no value since step 1 was confirmed",
    )
    assert f"REAL MONEY: {MODEL} may trade 100.00 USD." in live("status").stdout

    revoked = live("revoke", "--reason", "holidays", keys=False)
    assert revoked.exit_code == 0, revoked.stderr
    assert f"nothing is confirmed on account {ACCOUNT} any more (holidays)" in revoked.stdout
    assert json.loads(live("status", "--json").stdout)["permission"] is None
    again = live("revoke", "--reason", "again")
    assert (again.exit_code, "nothing is confirmed; nothing was changed" in again.stderr) == (1, True)


def test_without_the_switch_nobody_goes_live(live: Live, desk: Warehouse) -> None:
    refused = live("promote", "--reason", "now", switch=False)
    assert (refused.exit_code, "switch: live.enabled is false" in refused.stderr) == (1, True)
    put_live(desk)
    asked = live("confirm", "--step", "1", "--account", ACCOUNT, switch=False, keys=False)
    assert (asked.exit_code, "nothing can be confirmed; switch: live.enabled is false" in asked.stderr) == (1, True)
    assert confirmations(desk) == []


def test_without_a_green_light_nobody_goes_live(live: Live, desk: Warehouse) -> None:
    with desk.write() as writer:
        writer.execute("update desk.equity set benchmark_usd = 10000 * exp(epoch(closed_at_utc - $at) / 1e5)", at=NOW)
    refused = live("promote", "--reason", "now")
    assert refused.exit_code == 1
    assert "cannot go live; alpha: " in refused.stderr
    assert desk.query("select stage from promotion.stages").item() == "production"


def test_a_model_whose_files_are_damaged_does_not_go_live(live: Live, desk: Warehouse) -> None:
    (desk.file.parent / "artifacts" / str(MODEL) / "manifest.json").write_text("{}")
    refused = live("promote", "--reason", "now")
    assert refused.exit_code == 1
    assert desk.query("select stage from promotion.stages").item() == "production"


@pytest.mark.parametrize(
    ("arguments", "typed"),
    [(["--account", "another"], None), (["--account", ACCOUNT[-6:]], None), ([], "abcdef\n"), ([], "\n\n")],
    ids=["another account", "a part of it", "another ending", "nothing"],
)
def test_an_account_that_the_operator_did_not_name_is_not_confirmed(
    live: Live, desk: Warehouse, arguments: list[str], typed: str | None
) -> None:
    put_live(desk)
    refused = live("confirm", "--step", "1", *arguments, typed=typed)
    assert refused.exit_code == 1
    assert confirmations(desk) == []


def test_the_whole_account_may_be_given_and_the_answer_is_json(live: Live, desk: Warehouse) -> None:
    put_live(desk)
    done = live("confirm", "--step", "1", "--account", ACCOUNT, "--reason", "my own", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["model"], told["capital_usd"], told["account_id"]) == (str(MODEL), 100.0, ACCOUNT)
    assert confirmations(desk) == [(ACCOUNT, 1, 100.0, "my own")]


def test_steps_are_climbed_one_by_one_with_profit(live: Live, desk: Warehouse) -> None:
    put_live(desk, NOW - 8 * DAY)
    confirm(desk, NOW - 8 * DAY + HOUR)
    early = live("confirm", "--step", "3", "--account", ACCOUNT)
    assert "step 3 comes after step 2, and confirmed is 1" in early.stderr
    poor = live("confirm", "--step", "2", "--account", ACCOUNT)
    assert "step 2 cannot be confirmed; profit: the account has no value" in poor.stderr
    trade(desk, [100 + n / 100 for n in range(1, 8 * 24)], stage="live", opened=NOW - 8 * DAY + HOUR)
    done = live("confirm", "--step", "2", "--account", ACCOUNT)
    assert done.exit_code == 0, done.stderr
    assert [row[1:3] for row in confirmations(desk)] == [(1, 100.0), (2, 1_000.0)]


def test_keys_that_may_not_trade_are_not_confirmed_and_those_that_move_money_warned_of(
    live: Live, desk: Warehouse, exchange: Exchange
) -> None:
    put_live(desk)
    rights = f'{{"can_trade": false, "can_transfer": true, "portfolio_uuid": "{ACCOUNT}"}}'
    exchange.on("GET key_permissions", body(rights), times=None)
    refused = live("confirm", "--step", "1", "--account", ACCOUNT)
    assert refused.exit_code == 1
    assert "these keys may also move money away" in refused.stderr
    assert "these keys may not trade" in refused.stderr
    assert confirmations(desk) == []


def test_without_keys_no_account_is_confirmed(live: Live, desk: Warehouse) -> None:
    put_live(desk)
    refused = live("confirm", "--step", "1", "--account", ACCOUNT, keys=False)
    assert (refused.exit_code, "no keys of Coinbase" in refused.stderr) == (2, True)


def test_a_venue_that_does_not_answer_confirms_nothing(live: Live, desk: Warehouse, exchange: Exchange) -> None:
    put_live(desk)
    exchange.on("GET accounts", body("<html></html>"), times=None)
    refused = live("confirm", "--step", "1", "--account", ACCOUNT)
    assert (refused.exit_code, "coinbase: no list of accounts" in refused.stderr) == (1, True)
    assert confirmations(desk) == []


def test_on_the_first_day_every_gate_is_closed(cappuccino: Callable[..., Result], first_day: Path) -> None:
    told = json.loads(cappuccino("live", "status", "--json", "--warehouse", first_day).stdout)
    assert told["permission"] is None
    assert told["no_figures"] == "no model is in production; nothing can go live"
    assert not any(row["passes"] for row in told["gates"])
    shown = cappuccino("live", "status", "--warehouse", first_day).stdout
    assert "Green light: production on paper: no model is in production" in shown
    assert "No real money is traded." in shown
