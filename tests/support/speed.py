"""What a log says of the speed of a training, which no two runs share."""

from hybrid_ir.training.throughput import PREFIX

# Numbers of throughput.json that do not depend on the machine.
COUNTED = ("steps", "tokens", "pairs", "slots", "flops")


def drop_speed(row: dict[str, float]) -> dict[str, float]:
    """Returns a row of metrics.jsonl without how fast the steps were."""
    return {name: value for name, value in row.items() if not name.startswith(PREFIX)}
