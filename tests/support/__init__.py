"""What tests of all kinds share: real servers, and the two doors to a fresh database."""
