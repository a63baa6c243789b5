"""What people see of the server: the console, and the pages on which they let an app in."""
