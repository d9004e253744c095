"""The ``rackrise`` command: thin, over the same functions as everything else."""
