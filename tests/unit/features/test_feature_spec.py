import pickle

import pytest

from cappuccino.errors import ConfigError
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.settings import FeatureSettings


def test_the_base_set_has_eleven_features() -> None:
    assert FeatureSpec(FeatureSettings().indicators).names == (
        *("log_open", "log_high", "log_low", "log_close", "log_volume"),
        *("macd_frac", "macd_signal_frac", "macd_histogram_frac", "rsi_14", "cci_20", "dx_14"),
    )


def test_extras_follow_in_the_order_of_the_configuration() -> None:
    settings = FeatureSettings(indicators=("rsi_14",), extras=("regime", "roc_12"))
    spec = FeatureSpec.from_settings(settings)
    assert spec.names[5:] == ("rsi_14", "regime_volatility", "regime_trend", "roc_12")


def test_bars_alone_are_a_spec_and_need_one_bar_before() -> None:
    spec = FeatureSpec(())
    assert len(spec.names) == 5
    assert spec.warmup_bars(Interval.H1) == 1


def test_the_warmup_is_the_longest_of_the_features() -> None:
    spec = FeatureSpec(("rsi_14",), ("trend_1d",))
    assert spec.warmup_bars(Interval.M15) == 20 * 96
    assert spec.warmup_bars(Interval.D1) == 200
    assert FeatureSpec(("ema_100",)).warmup_bars(Interval.D1) == 1400


def test_a_column_that_would_be_there_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="roc_12 would be there twice"):
        FeatureSpec(("roc_12",), ("roc_12",))
    with pytest.raises(ConfigError, match="dmp_14"):
        FeatureSpec(("adx_14", "adxr_14"))


def test_names_suit_a_table() -> None:
    spec = FeatureSpec(("bbands_20", "squeeze", "kst", "qqe", "cdl_z"), ("trend_4h",))
    assert all(name.isidentifier() and name == name.lower() for name in spec.names)


def test_equal_names_are_equal_specs_and_travel_to_another_process() -> None:
    spec = FeatureSpec(("macd",), ("regime",))
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(spec) == hash(FeatureSpec(("macd",), ("regime",)))


def test_an_unknown_name_is_refused_when_the_spec_is_made() -> None:
    with pytest.raises(ConfigError, match=r"features\.indicators"):
        FeatureSpec(("rsy_14",))
    with pytest.raises(ConfigError, match=r"features\.extras"):
        FeatureSpec((), ("moon_phase",))
