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
  judged_at timestamptz not null default now(),
  constraint saving_days_pkey primary key (day)
);

comment on table observability_internal.saving_days is 'The days whose calls were judged, and how many calls they had then.';

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

create function observability_internal.beginnings(from_time timestamptz, to_time timestamptz)
returns table (event_id uuid, shared_5 bigint, shared_10 bigint, shared_60 bigint, kept bigint)
language sql
stable
security invoker
set search_path = ''
set work_mem = '64MB'
rows 10000
as $$
  with positions as materialized (
    select array_agg(observability_internal.block_position(n) order by n) as bytes from generate_series(1, 63) as n
  ),
  calls as (
    select
      m.event_id, m.created_at, m.provider, m.model, m.prompt_tokens, m.prompt_blocks,
      get_byte(m.prompt_blocks, 0) * 16777216::bigint + get_byte(m.prompt_blocks, 1) * 65536
      + get_byte(m.prompt_blocks, 2) * 256 + get_byte(m.prompt_blocks, 3) as size
    from observability_internal.ai_usage_metrics as m
    where m.created_at >= beginnings.from_time - interval '1 hour' and m.created_at < beginnings.to_time
      and octet_length(m.prompt_blocks) > 4 and m.status <> 'error'
  ),
  blocks as (
    select
      c.event_id, c.created_at, b.number,
      c.created_at - lag(c.created_at) over same as since, lead(c.created_at) over same - c.created_at as until
    from calls as c
    cross join lateral generate_series(1, octet_length(c.prompt_blocks) / 4 - 1) as b (number)
    window same as (
      partition by substr(c.prompt_blocks, b.number * 4 + 1, 4), c.provider, c.model, b.number order by c.created_at
    )
  ),
  found as (
    select
      b.event_id,
      max(b.number) filter (where b.since <= interval '5 minutes') as at_5,
      max(b.number) filter (where b.since <= interval '10 minutes') as at_10,
      max(b.number) filter (where b.since <= interval '1 hour') as at_60,
      max(b.number) filter (where b.until <= interval '10 minutes') as at_next
    from blocks as b
    where b.created_at >= beginnings.from_time
    group by b.event_id
  )
  select
    f.event_id,
    coalesce(c.prompt_tokens * p.bytes[f.at_5] / c.size, 0),
    coalesce(c.prompt_tokens * p.bytes[f.at_10] / c.size, 0),
    coalesce(c.prompt_tokens * p.bytes[f.at_60] / c.size, 0),
    coalesce(c.prompt_tokens * p.bytes[f.at_next] / c.size, 0)
  from found as f
  inner join calls as c using (event_id)
  cross join positions as p
  where c.size > 0;
$$;

comment on function observability_internal.beginnings is
'By call with hashes: tokens of its prompt whose beginning another call had in the 5, 10 and 60 minutes before, and that'
' the next has within ten minutes.';
revoke execute on function observability_internal.beginnings from public;
grant execute on function observability_internal.beginnings to authenticated, service_role;
