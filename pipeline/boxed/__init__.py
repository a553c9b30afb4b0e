"""Reading what nobody can trust: in processes of their own, with limits, without a network, and with few files."""
