"""What a configuration still needs before one starts it: jobs, time and disk, reckoned from measured rates."""
