"""What commands and schedules do, as plain functions: from the settings to what was done."""
