"""From what is dropped into the inbox to a published session, or to a quarantine with a reason."""
