"""How events cross processes, quickly: through a channel layer. The log has what it loses (`delivery.log_reader`)."""
