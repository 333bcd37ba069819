"""What a tenant perceives beside one of 50 that floods the gateway."""
