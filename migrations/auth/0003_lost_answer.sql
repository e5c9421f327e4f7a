-- A browser may present a spent token again for some seconds, since its page may have been left before the answer came.

alter table auth.refresh_tokens
  -- the token that this one was bought with, mostly one for one; null for a login's first. Gone tokens are no use to know.
  add column bought_with uuid;

-- what a token has bought, and its siblings
create index refresh_tokens_bought_with on auth.refresh_tokens (bought_with) where bought_with is not null;
