"""Programs that use Treering."""
