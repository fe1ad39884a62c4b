"""What scenarios and peers share: a run's directory and progress, the generator, the report."""
