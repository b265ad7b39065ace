"""Frames, sounds and sentences become vectors.  Each file is one family."""

import os
import sys

# Two runtimes tell their makers how they are used: unasked, over the network, with a number for the machine that they
# leave in the home folder.  OpenVINO does so through this package, for each import and each network that it converts;
# where the package is missing it has a stub.  ONNX Runtime (from 1.29 on) looks for this name before it begins.  The
# library of the Hugging Face hub tells its servers, with each question, of PyTorch and of the programs around it.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
