"""Luthier sends nothing anywhere: what silences its libraries, set before they are imported.

Every library of the base and of the extras was searched for what it sends of its own accord
(`docs/licences.md` names them). These five do; Hydra, Optuna, Demucs and the client of Qualcomm AI
Hub do not. ONNX Runtime on Windows has a call instead: see `core.formats.onnx_session`.
"""

from __future__ import annotations

import sys

__all__ = ["HIDDEN", "SILENT"]

SILENT = {
    # ONNX Runtime's official builds for Linux and macOS, since 1.29: a device identifier, events of
    # every session, an uploader (its docs/Privacy.md; 1.31.1 with it: no file and no connection).
    "ORT_DISABLE_TELEMETRY": "1",
    # huggingface_hub, which demucs fetches with: names of libraries in its headers, and events
    # (huggingface_hub/constants.py, utils/_telemetry.py, 2.4.0).
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # MLflow's client: events of its calls (mlflow/telemetry/utils.py, 3.17.2).
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Ray: a report of the cluster each hour (ray/_common/usage/usage_lib.py, 2.60.0).
    "RAY_USAGE_STATS_ENABLED": "0",
    # The convention of donottrack.sh, for later versions of any library; MLflow and huggingface_hub
    # read it already.
    "DO_NOT_TRACK": "true",
}
"""Variables of the environment, which `import core` sets over what was set; children have them."""

HIDDEN = ("openvino_telemetry",)
"""Modules that cannot be imported once this module is.

OpenVINO and NNCF install this one. OpenVINO reports each import of itself through it, NNCF each
call with its settings; no variable turns that off (openvino/tools/ovc/__init__.py, 2026.4.1;
nncf/telemetry/wrapper.py, 3.4.0). Without it both take empty stand-ins of their own.
"""
# Python refuses to import a module that is None here.
sys.modules.update(dict.fromkeys(HIDDEN))  # type: ignore[arg-type]
