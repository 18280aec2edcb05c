-- What was spent without need, judged call by call and kept as sums by day.
-- Locks: none; it only creates.

-- `waste` has a bit for each judgement, which may overlap; the plan counts each dollar once:
--    1 an attempt that a later one replaced       2 a failed call that was billed
--    4 the same prompt again within six hours     8 the same within one hour
--   16 the same text embedded again              32 cancelled by the caller
--   64 one of a job that nobody waits for       128 on the priority tier, and nobody waits
--  256 its shared beginning is measured by hashes; else it is told by the session's turns
--  512 has units or audio that cannot be priced anew
create table observability_internal.saving_facts (
  day date not null,
  provider text not null,
  model text not null,
  feature text not null,
  environment text not null,
  operation text not null,
  service_tier text not null,
  band integer not null,
  waste integer not null,
  calls bigint not null,
  prompt_tokens bigint not null,
  completion_tokens bigint not null,
  cached_tokens bigint not null,
  cache_write_tokens bigint not null,
  cache_write_1h_tokens bigint not null,
  reasoning_tokens bigint not null,
  cost numeric not null,
  missed_5_tokens bigint not null,
  missed_10_tokens bigint not null,
  missed_60_tokens bigint not null,
  first_tokens bigint not null,
  excess_prompt_tokens bigint not null,
  excess_output_tokens bigint not null,
  excess_reasoning_tokens bigint not null,
  short_lived_tokens bigint not null,
  cut_off bigint not null,
  regenerated bigint not null,
  continued bigint not null,
  tool_retries bigint not null,
  liked bigint not null,
  disliked bigint not null,
  example_event_id uuid not null,
  constraint saving_facts_pkey
  primary key (day, provider, model, feature, environment, operation, service_tier, band, waste)
);

comment on table observability_internal.saving_facts is
'Sums of the calls with a certain price by UTC day, dimensions, tier, band of input length and judgement; missed_*: input'
' that the cache could have given with 5, 10 and 60 minutes of idle life; first: what it would have had to write.';

alter table observability_internal.saving_facts enable row level security;

grant select on table observability_internal.saving_facts to authenticated;

grant select, insert, update, delete on table observability_internal.saving_facts to service_role;

create policy "analysts read what could be saved" on observability_internal.saving_facts
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.saving_days (
  day date not null,
  calls bigint not null,
  cost numeric not null,
  judged_at timestamptz not null default now(),
  constraint saving_days_pkey primary key (day)
);

comment on table observability_internal.saving_days is 'The days whose calls were judged, and how many calls they had then and what these had cost;'
' calls are -1 where the day is to be judged again.';

alter table observability_internal.saving_days enable row level security;

grant select on table observability_internal.saving_days to authenticated;

grant select, insert, update, delete on table observability_internal.saving_days to service_role;

create policy "analysts read which days were judged" on observability_internal.saving_days
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.embedded_texts (
  text_key bigint not null,
  first_at timestamptz not null,
  last_day date not null,
  constraint embedded_texts_pkey primary key (text_key)
);

comment on table observability_internal.embedded_texts is
'When a text was embedded first, by a hash of its salted hash and the model; forgotten 60 days after it came last.';

alter table observability_internal.embedded_texts enable row level security;

grant select on table observability_internal.embedded_texts to authenticated;

grant select, insert, update, delete on table observability_internal.embedded_texts to service_role;

create policy "analysts read which texts were embedded" on observability_internal.embedded_texts
for select to authenticated
using ((select observability_internal.can_read_all()));

-- As ingest.record.blocks.positions: a test compares them.
create function observability_internal.block_position(number integer) returns integer
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select (4096 * 2 ^ ((number - 1) / 8) * (8 + (number - 1) % 8) / 8)::integer;
$$;

comment on function observability_internal.block_position is
'Bytes of the prompt before the n-th hash: from 4,096 (about 1,024 tokens, the shortest that is cached) in eight even'
' steps to each doubling.';
revoke execute on function observability_internal.block_position from public;
grant execute on function observability_internal.block_position to authenticated, service_role;
