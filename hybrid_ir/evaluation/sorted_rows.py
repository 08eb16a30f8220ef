"""Searches and counts within the rows of matrices, in n log n steps.

Shapes: Q rows (queries), N columns (passages), R values of a row (relevant passages), T sorted
values of a row, P places: a row each, which may repeat.
"""

import numpy as np
import torch

COMPARED_AT_ONCE = 1 << 20  # values of which `count_higher_and_equal` holds the sorted copies
NO_GROUP = -1


def is_above(values_QN: torch.Tensor, limits_Q1: torch.Tensor) -> torch.Tensor:
    """Compares the values of each row with the limit of that row (Q, N).

    On a CPU this is NumPy's comparison, which takes a third of the time of torch's.
    """
    if values_QN.device.type == "cpu":
        return torch.from_numpy(np.greater(values_QN.numpy(), limits_Q1.numpy()))
    return values_QN > limits_Q1


def find_true(mask_QN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Finds the rows and the columns (P each) where a mask is true, row by row.

    On a CPU this is NumPy's search, which takes a seventh of the time of torch's.
    """
    if mask_QN.device.type != "cpu":
        row_P, column_P = mask_QN.nonzero(as_tuple=True)
        return row_P, column_P
    place_P = torch.from_numpy(np.flatnonzero(mask_QN.numpy()))
    columns = mask_QN.shape[1]
    row_P = place_P // columns
    return row_P, place_P - row_P * columns


def search_rows(
    sorted_QT: torch.Tensor,
    row_P: torch.Tensor,
    value_P: torch.Tensor,
    low_P: torch.Tensor,
    high_P: torch.Tensor,
    right: bool = False,
) -> torch.Tensor:
    """Finds where values would stand in sorted rows, each in a part of its row.

    Args:
        sorted_QT: ascending along each row.
        row_P: the row of each value.
        value_P: the values.
        low_P: where the part begins.
        high_P: where the part ends; what lies before is searched.
        right: behind equal values, not before them.

    Returns:
        The first place from `low_P` to `high_P` whose value is not below the one that is searched
        or, with `right`, is above it (P).
    """
    if len(row_P) == 0:
        return low_P
    flat = sorted_QT.flatten()
    first_P = row_P * sorted_QT.shape[1]
    longest = int((high_P - low_P).max())
    for _ in range(longest.bit_length()):
        is_open_P = low_P < high_P
        middle_P = (low_P + high_P) // 2
        edge_P = flat[(first_P + middle_P).clamp_(max=len(flat) - 1)]
        is_passed_P = edge_P < value_P
        if right:
            is_passed_P |= edge_P == value_P
        is_passed_P &= is_open_P
        low_P = torch.where(is_passed_P, middle_P + 1, low_P)
        high_P = torch.where(is_open_P & ~is_passed_P, middle_P, high_P)
    return low_P


def count_higher_and_equal(
    values_QR: torch.Tensor, groups_QR: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts, for each value, the others of its row and group that are higher, and equal.

    Args:
        values_QR: the values.
        groups_QR: the group of each, from 0 on; NO_GROUP for one that does not count.

    Returns:
        Both counts (Q, R), int32; 0 for a value that does not count.
    """
    higher_QR = torch.zeros(values_QR.shape, dtype=torch.int32, device=values_QR.device)
    equal_QR = torch.zeros_like(higher_QR)
    rows, width = values_QR.shape
    step = max(1, COMPARED_AT_ONCE // width)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        groups_BR = groups_QR[part].long()
        # The place of a value among the sorted ones is the same for equal values. With the group
        # in front of it, one more sort puts the values of a group together, in their order.
        values_BR = values_QR[part].contiguous()
        place_BR = torch.searchsorted(values_BR.sort(1).values, values_BR)
        keys_BR = groups_BR * (width + 1) + place_BR
        is_left_out_BR = groups_BR == NO_GROUP
        keys_BR.masked_fill_(is_left_out_BR, torch.iinfo(torch.int64).max)
        sorted_BR = keys_BR.sort(1).values
        first_BR = torch.searchsorted(sorted_BR, keys_BR)
        last_BR = torch.searchsorted(sorted_BR, keys_BR, right=True)
        end_BR = torch.searchsorted(sorted_BR, (groups_BR + 1) * (width + 1))
        higher_QR[part] = (end_BR - last_BR).masked_fill_(is_left_out_BR, 0).int()
        equal_QR[part] = (last_BR - first_BR - 1).masked_fill_(is_left_out_BR, 0).int()
    return higher_QR, equal_QR


def sum_from_each_on(counts_QT: torch.Tensor) -> torch.Tensor:
    """Sums each row from every place to its end (Q, T)."""
    return counts_QT.flip(1).cumsum(1).flip(1)
