"""Measurements that print figures. They are not tests, and they are not shipped."""
