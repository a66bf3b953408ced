"""Every error that Cappuccino raises on purpose.

    CappuccinoError
    ├── UsageError            exit code 2: the command or configuration is wrong
    │   ├── ConfigError       a key of cappuccino.toml, the environment or a flag
    │   └── UnknownName       an asset, partition, interval, model ... that does not exist
    ├── DataError             bars or features that cannot be trusted
    │   └── StaleData         the newest bar is too old to decide on
    ├── SourceError           a market source did not answer, or answered nonsense
    ├── BrokerError           a broker did not answer, or answered nonsense
    │   └── OrderUnknown      nobody knows whether an order was taken
    ├── TraderError           the trader cannot start or go on
    │   ├── TraderBusy        another process trades on this warehouse
    │   └── LedgerError       the trader's ledger is damaged, or of a newer Cappuccino
    ├── WarehouseError        the DuckDB file
    │   ├── WarehouseBusy     somebody else holds it for too long
    │   ├── WarehouseTooNew   written by a newer Cappuccino
    │   └── ContractError     rows or a schema that break a table's contract
    ├── ArtifactError         a model folder that is damaged, incomplete or not what it says
    ├── StageError            a promotion, demotion or rollback that the rules forbid
    └── TrainingError         a study that cannot start or go on
        ├── TrainingBusy      another process trains on this warehouse
        ├── TrainingDiverged  a loss, gradient or weight that is no number any more
        └── StudyFailed       none of its trials completed

A message says what was found, where, and what to do next; it ends without a full stop only when a value ends it.
"""

from __future__ import annotations


class CappuccinoError(Exception):
    """Base of all; the command line prints it in one piece and exits with `exit_code`."""

    exit_code = 1


class UsageError(CappuccinoError):
    """Correct the command or the configuration and call again."""

    exit_code = 2


class ConfigError(UsageError):
    """Correct the named configuration key."""


class UnknownName(UsageError):
    """Choose one of the names that the message lists."""


class DataError(CappuccinoError):
    """Mend or replace the named file, rows or symbols; nothing was written."""


class StaleData(DataError):
    """Sync bars, then try again."""


class SourceError(CappuccinoError):
    """Wait, or check the source's address and credentials; what was synced so far is kept."""


class BrokerError(CappuccinoError):
    """Wait: the trader asks again. If it stays, check the broker's address, keys and the clock of this machine."""


class OrderUnknown(BrokerError):
    """Ask the broker what became of the order before anything else is sent."""


class TraderError(CappuccinoError):
    """Read the reason; nothing was sent."""


class TraderBusy(TraderError):
    """Stop the other trader, whose process the message names, or let it trade."""


class LedgerError(TraderError):
    """Look at the ledger file that the message names."""


class WarehouseError(CappuccinoError):
    """Look at the warehouse file that the message names."""


class WarehouseBusy(WarehouseError):
    """Close the process that holds the file (the message names it), then try again."""


class WarehouseTooNew(WarehouseError):
    """Update Cappuccino, or point it to another warehouse folder."""


class ContractError(WarehouseError):
    """Run the statement that the message gives, or correct the rows."""


class ArtifactError(CappuccinoError):
    """Restore the model folder from a backup, or retire the model."""


class StageError(CappuccinoError):
    """Choose a transition that the stage table allows."""


class TrainingError(CappuccinoError):
    """Read the reason, correct data or configuration, and start the study again."""


class TrainingBusy(TrainingError):
    """Wait for the other study, or stop the process that the message names."""


class TrainingDiverged(TrainingError):
    """Nothing to do: the study tries the trial again with half the learning rate."""


class StudyFailed(TrainingError):
    """Look at why its trials failed (lab.attempts), or let a later study try."""


def error_named(name: str) -> type[CappuccinoError]:
    """Return the class of that name, for an error that crossed a process as text; the base class for any other."""
    waiting = [CappuccinoError]
    while waiting:
        found = waiting.pop()
        if found.__name__ == name:
            return found
        waiting += found.__subclasses__()
    return CappuccinoError
