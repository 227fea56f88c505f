"""Transfers, one entry each, by the names of their records: records/{target}/{representation}/{transfer}.json."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Transfer:
    """What a config may ask for in a column of a table.

    cached : of any representation, on the shots of the target; or else of networks that are fine-tuned on it.
    separate : what stands in its place where members are trained separately, never together: the paper's ^sub.
    """

    name: str
    cached: bool = False
    separate: str = ""


TRANSFERS = {
    entry.name: entry
    for entry in (
        Transfer("linear_probe", cached=True, separate="ensemble"),
        Transfer("finetune", separate="ensemble_finetune"),
        Transfer("averaged_head"),
        Transfer("two_stage", separate="averaged_head"),
    )
}
SEPARATE = {name: entry.separate for name, entry in TRANSFERS.items() if entry.separate}
# How the members of an ensemble are trained.
MEMBERS_TRANSFER = {"ensemble": "linear_probe", "ensemble_finetune": "finetune"}
# Transfers of several whole networks: there is nothing to do for one, or for columns of one.
OF_NETWORKS = ("two_stage", "averaged_head", "ensemble_finetune")


def transfer_name(transfer: str, ensemble: bool) -> str:
    return SEPARATE.get(transfer, transfer) if ensemble else transfer
