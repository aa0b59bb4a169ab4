"""What people ask and do, from the settings to an answer: the command line stands on it."""
