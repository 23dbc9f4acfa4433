"""`pacos review`: people judge tasks and answers in the browser, blind where models are compared."""
