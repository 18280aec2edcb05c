"""Entry point for hosts that start a file of your repository, such as Streamlit Community Cloud."""

import runpy
from pathlib import Path

import dashboard

runpy.run_path(str(Path(dashboard.__path__[0]) / "app.py"), run_name="__main__")
