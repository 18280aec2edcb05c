"""The Streamlit app at `/dashboard/observability`. Start it with `treering up` or `streamlit run dashboard/app.py`."""
