"""Peaks of devices: how many floating-point operations they can do in a second, by data sheet.

All numbers are teraflops (10^12 operations a second) of matrix products without sparsity, where a
data sheet often prints the double. Sums are kept in 32 bits, as torch does; some GeForce cards are
twice as fast with sums in 16 bits.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class DevicePeaks:
    """What one device can do at most, in teraflops by the type of the numbers.

    Attributes:
        pattern: a regular expression that the whole name of the device matches, without regard to
            case. A part of a device (MIG) has a longer name, and so no peak.
        bf16: in bfloat16; None where the device has no units for it.
        fp16: in float16.
        tf32: float32 with the factors of products rounded to 10 bits; None for no such units.
        fp32: in float32.
    """

    pattern: str
    bf16: float | None
    fp16: float
    tf32: float | None
    fp32: float


# The names are those that torch.cuda.get_device_name prints.
PEAKS = (
    # NVIDIA A100 Tensor Core GPU, data sheet (1758950, June 2021): SXM and PCIe alike.
    DevicePeaks(r"(NVIDIA )?A100[- ].*(SXM|PCIE).*", 312, 312, 156, 19.5),
    # NVIDIA H100 Tensor Core GPU, data sheet and architecture white paper (2022): SXM5.
    DevicePeaks(r"NVIDIA H100 80GB HBM3", 989.4, 989.4, 494.7, 66.9),
    # The same white paper, PCIe: 114 multiprocessors instead of 132.
    DevicePeaks(r"NVIDIA H100 PCIe", 756, 756, 378, 51.2),
    # NVIDIA H100 data sheet, column NVL, of one card.
    DevicePeaks(r"NVIDIA H100 NVL", 835.5, 835.5, 417.5, 60),
    # NVIDIA H200 Tensor Core GPU, data sheet (3002446): the processor of the H100 SXM5.
    DevicePeaks(r"NVIDIA H200", 989.4, 989.4, 494.7, 66.9),
    DevicePeaks(r"NVIDIA H200 NVL", 835.5, 835.5, 417.5, 60),
    # NVIDIA Blackwell data sheet (3384703), HGX B200 with 1,000 W a GPU.
    DevicePeaks(r"NVIDIA B200", 2250, 2250, 1100, 75),
    # NVIDIA L4, L40S and A10, data sheets.
    DevicePeaks(r"NVIDIA L4", 121, 121, 60, 30.3),
    DevicePeaks(r"NVIDIA L40S", 362, 362, 183, 91.6),
    DevicePeaks(r"NVIDIA A10", 125, 125, 62.5, 31.2),
    # NVIDIA T4 data sheet (951643) and V100 data sheet (1165301): no bfloat16, no TF32.
    DevicePeaks(r"(NVIDIA|Tesla) T4", None, 65, None, 8.1),
    DevicePeaks(r"(NVIDIA|Tesla) V100-SXM2-\d+GB", None, 125, None, 15.7),
    DevicePeaks(r"(NVIDIA|Tesla) V100-PCIE-\d+GB", None, 112, None, 14),
    # White papers of the architectures GA102 (2020), Ada (2022) and RTX Blackwell (2025).
    DevicePeaks(r"NVIDIA GeForce RTX 3090", 71, 71, 35.6, 35.6),
    DevicePeaks(r"NVIDIA GeForce RTX 4090", 165.2, 165.2, 82.6, 82.6),
    DevicePeaks(r"NVIDIA GeForce RTX 5090", 209.5, 209.5, 104.8, 104.8),
    # AMD Instinct MI300X data sheet.
    DevicePeaks(r"AMD Instinct MI300X", 1307.4, 1307.4, 653.7, 163.4),
)


def find_peak(device: str, number_type: str) -> float | None:
    """Finds the peak of a device in teraflops.

    Args:
        device: its whole name, as torch.cuda.get_device_name prints it.
        number_type: bf16, fp16, tf32 or fp32; any other has no peak.

    Returns:
        The peak without sparsity, None for a device that the table lacks or that has no units for
        such numbers.
    """
    for peaks in PEAKS:
        is_named_so = re.fullmatch(peaks.pattern, device, re.IGNORECASE) is not None
        if is_named_so and "MIG" not in device:
            return getattr(peaks, number_type, None)
    return None
