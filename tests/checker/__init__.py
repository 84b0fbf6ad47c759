"""The checker: after a run, with faults or without, did every promise hold?

It believes no process. It reads what they left behind: the ledgers and outboxes of the services'
databases, the log, the inboxes and the effects, and what each client of a live stream wrote down.

    python3 -m checker --data DIR [--clients FILE] [--json]      (from the folder tests/)
"""
