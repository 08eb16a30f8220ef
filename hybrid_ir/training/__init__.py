"""Training a bi-encoder: the LightningModule, its losses, checkpoints and loggers."""
