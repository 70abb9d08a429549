"""Accounts of staff: signing in, invitations and roles, and the audit log."""
