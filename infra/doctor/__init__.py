"""What `headwater doctor` looks at: one file per service, each gives findings and changes nothing."""
