"""What the viewer chose; pure."""
