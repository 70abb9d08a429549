"""What comes back: bounces and unsubscribes by mail."""
