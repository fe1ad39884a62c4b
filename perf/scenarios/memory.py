SUMMARY = "todo"
def measure(session):
    return []
