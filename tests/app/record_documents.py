"""Records the documents of `tests/app/documents/` anew: `uv run python -m tests.app.record_documents`."""

from __future__ import annotations

import json

from ingest.local.embedded import find_binaries
from tests.app.recording import FOLDER, OPS, record, seed
from tests.support.doors import Door
from tests.support.servers import Server


def main() -> None:
    server = Server.start(find_binaries())
    try:
        door = Door("postgres", server.create_database())
        ops = door.viewer(OPS)
        seed(door.service(), ops)
        FOLDER.mkdir(exist_ok=True)
        for function, document in record(ops):
            text = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True)
            (FOLDER / f"{function}.json").write_text(text + "\n", encoding="utf-8")
        door.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
