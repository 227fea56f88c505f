"""Transfers by the names of their records: records/{target}/{representation}/{transfer}.json."""

# What stands in place of a transfer where members are trained separately, never together: the paper's ^sub.
SEPARATE = {"linear_probe": "ensemble", "finetune": "ensemble_finetune", "two_stage": "averaged_head"}
# How the members of an ensemble are trained.
MEMBERS_TRANSFER = {"ensemble": "linear_probe", "ensemble_finetune": "finetune"}
# Transfers of several whole networks: there is nothing to do for one, or for columns of one.
OF_NETWORKS = ("two_stage", "averaged_head", "ensemble_finetune")


def transfer_name(transfer: str, ensemble: bool) -> str:
    return SEPARATE.get(transfer, transfer) if ensemble else transfer
