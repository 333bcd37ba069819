"""Converts between stored records and the messages of the API: one module per resource."""
