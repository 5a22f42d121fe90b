"""The rival of `serve_bars.py`: faster-whisper behind a minimal FastAPI app.

As many write it: one model, an endpoint in FastAPI's pool of threads, and CTranslate2's own
workers, of which one for each processor takes requests at the same time.
"""

import argparse
import os
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Form, UploadFile


def make_app(folder: str, device: str, compute_type: str, n_threads: int) -> FastAPI:
    """Returns the app."""
    from faster_whisper import WhisperModel

    model = WhisperModel(
        folder,
        device=device,
        compute_type=compute_type,
        cpu_threads=1,
        num_workers=n_threads,
        local_files_only=True,
    )
    app = FastAPI()

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/audio/transcriptions")
    def transcribe(file: UploadFile, beam_size: Annotated[int, Form()] = 5) -> dict[str, Any]:
        segments, _ = model.transcribe(file.file, language="en", beam_size=beam_size)
        return {"text": "".join(segment.text for segment in segments).strip()}

    return app


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="a CTranslate2 model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compute-type", default="int8")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    n_threads = len(os.sched_getaffinity(0))
    app = make_app(arguments.folder, arguments.device, arguments.compute_type, n_threads)
    uvicorn.run(app, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
