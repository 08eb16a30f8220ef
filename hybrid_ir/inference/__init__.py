"""Encoders without torch's forward pass: as graphs of ONNX, in float32 or int8, or by OpenVINO."""
