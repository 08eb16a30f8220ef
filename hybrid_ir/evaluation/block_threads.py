"""Calls a function for many blocks of work, in as many threads as torch may use."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch


def run_blocks(
    function: Callable[..., None], blocks: Sequence[tuple], device: torch.device
) -> None:
    """Calls a function for every block.

    On a CPU, `torch.get_num_threads()` threads take one block after the other, and each calls torch
    with one thread. Threads that torch starts within an operation wait for each other in a busy
    loop at its end, so that another job on one of the cores slows down all of them. Here a thread
    that is slowed down takes fewer blocks.

    Args:
        function: writes to places that belong to its block alone.
        blocks: the arguments of each call.
        device: where the function computes.
    """
    threads = min(torch.get_num_threads(), len(blocks))
    if device.type != "cpu" or threads <= 1:
        for block in blocks:
            function(*block)
        return
    is_inference = torch.is_inference_mode_enabled()

    def call(block: tuple) -> None:
        with torch.inference_mode(is_inference), torch.no_grad():
            function(*block)

    threads_before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(call, blocks):
                pass
    finally:
        # a thread that starts later takes the number that was set last, in whatever thread
        torch.set_num_threads(threads_before)
