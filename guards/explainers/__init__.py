"""Why a head gave its score: attributions of tokens, attention, and how far each can be trusted."""
