-- Compares each call with its neighbours: the same prompt before, the turns beside it, and beginnings that others share.
-- Locks: none; it only creates.

-- Keys are hashes of eight bytes, which sort and compare many times faster than the names themselves.
create view observability_internal.comparable_calls with (security_invoker = true) as
select
  m.event_id, m.created_at, floor(date_part('epoch', m.created_at) * 1000)::bigint as at, m.attempt, m.prompt_blocks,
  m.prompt_tokens, m.prompt_tokens + m.completion_tokens - m.reasoning_tokens as tokens_after,
  coalesce(m.prefix_tokens, least(m.prompt_tokens, 1024)) as prefix_tokens,
  get_byte(m.prompt_blocks, 0) * 16777216::bigint + get_byte(m.prompt_blocks, 1) * 65536 + get_byte(m.prompt_blocks, 2) * 256
  + get_byte(m.prompt_blocks, 3) as prompt_size,
  case when m.status = 'error' then 0 else coalesce(octet_length(m.prompt_blocks) / 4 - 1, 0) end as hash_count,
  m.usage_details -> 'cache_write_1h_tokens' is not null as is_kept_an_hour, k.model_key, k.session_key,
  case when m.status = 'ok' then hashtextextended(m.prompt_hash, hashtextextended(m.operation, k.model_key)) end as prompt_key,
  hashtextextended(coalesce(m.feature, ''), hashint8extended(coalesce(k.session_key, 0), k.model_key)) as turn_key,
  hashtextextended(m.prefix_hash, k.model_key) as prefix_key,
  case when m.request_group_id is not null then hashtextextended(m.request_group_id, hashtextextended(coalesce(m.prompt_hash, ''), 0)) end as request_key
from observability_internal.ai_usage_metrics as m
cross join lateral (
  values (
    hashtextextended(m.model, hashtextextended(m.provider, (m.status = 'error')::integer)), hashtextextended(m.session_id, 0)
  )
) as k (model_key, session_key);

comment on view observability_internal.comparable_calls is
'What calls are compared by; of calls without a session, those of a feature follow each other as turns do.';
grant select on observability_internal.comparable_calls to authenticated, service_role;

create type observability_internal.call_turn as (
  rank integer,
  event_id uuid,
  is_own boolean,
  at bigint,
  attempt integer,
  prompt_tokens bigint,
  prefix_tokens bigint,
  prompt_blocks bytea,
  prompt_size bigint,
  levels integer,
  is_kept_an_hour boolean,
  model_key bigint,
  session_key bigint,
  prompt_key bigint,
  prefix_key bigint,
  request_key bigint,
  since_turn bigint,
  turn_tokens bigint,
  first_prompt bigint,
  has_next boolean,
  common_before integer,
  common_after integer
);

comment on type observability_internal.call_turn is
'A call and the turns beside it. rank: its place in time; common_*: so many hashes, at least, it has in common with the turn before and'
' the next, where that is within five minutes.';

create function observability_internal.line_up_calls(from_time timestamptz, to_time timestamptz)
returns setof observability_internal.call_turn
language sql
stable
security invoker
set search_path = ''
set work_mem = '64MB'
rows 100000
as $$
  with calls as (
    select
      row_number() over (order by c.created_at, c.event_id)::integer as rank, c.*, c.created_at >= line_up_calls.from_time as is_own,
      -- What is older has left every cache.
      case when c.created_at >= line_up_calls.from_time - interval '1 hour' then c.hash_count else 0 end as levels
    from (
      select * from observability_internal.comparable_calls as c
      where c.created_at >= line_up_calls.from_time - interval '6 hours' and c.created_at < line_up_calls.to_time
      order by c.created_at, c.event_id offset 0
    ) as c
  ),
  turns as (
    select
      c.*, c.at - lag(c.at) over turn as since_turn, lead(c.at) over turn - c.at as until_turn,
      lag(c.tokens_after) over turn as turn_tokens, first_value(c.prompt_tokens) over turn as first_prompt,
      substr(lag(c.prompt_blocks) over turn, 5) as before, least(c.levels, lag(c.levels) over turn) as most_before,
      substr(lead(c.prompt_blocks) over turn, 5) as after, least(c.levels, lead(c.levels) over turn) as most_after,
      substr(c.prompt_blocks, 5) as own
    from calls as c
    window turn as (partition by c.turn_key order by c.rank rows unbounded preceding)
  )
  select
    t.rank, t.event_id, t.is_own, t.at, t.attempt, t.prompt_tokens, t.prefix_tokens, t.prompt_blocks, t.prompt_size, t.levels,
    t.is_kept_an_hour, t.model_key, t.session_key, t.prompt_key, t.prefix_key, t.request_key, t.since_turn,
    -- A prompt that is shorter than the turn before and its answer does not repeat it.
    case when t.session_key is not null and t.turn_tokens <= t.prompt_tokens then t.turn_tokens end,
    case when t.session_key is not null then t.first_prompt end, t.session_key is not null and t.until_turn is not null,
    case
      when t.most_before = 0 or t.since_turn > 300000 then 0
      when substr(t.own, 1, 4 * t.most_before) = substr(t.before, 1, 4 * t.most_before) then t.most_before
      when substr(t.own, 1, 4 * t.most_before - 4) = substr(t.before, 1, 4 * t.most_before - 4) then t.most_before - 1
      when t.most_before > 2 and substr(t.own, 1, 4 * t.most_before - 8) = substr(t.before, 1, 4 * t.most_before - 8) then t.most_before - 2
      when substr(t.own, 1, t.most_before / 2 * 4) = substr(t.before, 1, t.most_before / 2 * 4) then t.most_before / 2
      else 0
    end,
    case
      when t.most_after = 0 or t.until_turn > 300000 then 0
      when substr(t.own, 1, 4 * t.most_after) = substr(t.after, 1, 4 * t.most_after) then t.most_after
      when substr(t.own, 1, 4 * t.most_after - 4) = substr(t.after, 1, 4 * t.most_after - 4) then t.most_after - 1
      when t.most_after > 2 and substr(t.own, 1, 4 * t.most_after - 8) = substr(t.after, 1, 4 * t.most_after - 8) then t.most_after - 2
      when substr(t.own, 1, t.most_after / 2 * 4) = substr(t.after, 1, t.most_after / 2 * 4) then t.most_after / 2
      else 0
    end
  from turns as t;
$$;

comment on function observability_internal.line_up_calls is
'The calls of a range and of the six hours before it, each with the turns beside it.';
revoke execute on function observability_internal.line_up_calls from public;
grant execute on function observability_internal.line_up_calls to authenticated, service_role;

create type observability_internal.call_neighbours as (
  event_id uuid,
  rank integer,
  is_superseded boolean,
  since_same bigint,
  is_same_session boolean,
  has_next boolean,
  is_measured boolean,
  shared_5 bigint,
  shared_10 bigint,
  shared_60 bigint,
  kept bigint,
  first_prompt bigint,
  until_prefix bigint
);

comment on type observability_internal.call_neighbours is
'A call beside its neighbours. shared_*: tokens of its prompt whose beginning another call had in the 5, 10 and 60 minutes before;'
' kept: those that another one has within the next ten; durations are milliseconds.';

-- All comparisons are one sort of numbers: a hash (31 bits), of what (7 bits: 0 the prompt, 1 to 63 its beginnings, 64 the prefix),
-- the call's rank in time (24 bits) and an edge (2 bits). What stands beside a number is what the call has in common with others.
-- Turns have most beginnings in common with the turn before and the next. A call between two such turns within five minutes of
-- each needs no row: of such a run the first row (edge 1) and the last one (edge 2) stand for all that is between.
create function observability_internal.compare_calls(from_time timestamptz, to_time timestamptz)
returns setof observability_internal.call_neighbours
language sql
stable
security invoker
set search_path = ''
set work_mem = '64MB'
rows 100000
as $$
  with turns as materialized (select * from observability_internal.line_up_calls(compare_calls.from_time, compare_calls.to_time)),
  times as (
    select
      -- Without nulls, a place in an array is found at once.
      array_agg(t.at order by t.rank) as at, array_agg(coalesce(t.session_key, 0) order by t.rank) as sessions,
      array_agg(coalesce(t.prompt_key, 0) order by t.rank) as prompts, min(t.rank) filter (where t.is_own) as first
    from turns as t
  ),
  keys as (
    select (k.hash << 33) | (k.number << 26) | (k.rank << 2) | k.edge as key
    from (
      select
        hashtextextended(substr(r.prompt_blocks, r.number * 4 + 1, 4)::text, r.model_key) as hash, r.number::bigint as number, r.rank::bigint as rank,
        case when r.number <= r.common_before then 2 when r.number <= r.common_after then 1 else 0 end as edge
      from (
        select
          t.rank, t.prompt_blocks, t.model_key, t.common_before, t.common_after, generate_series(least(t.common_before, t.common_after) + 1, t.levels) as number
        from turns as t where t.levels > 0
      ) as r
      union all
      select t.prompt_key, 0, t.rank, 0 from turns as t where t.prompt_key is not null
      union all
      select t.prefix_key, 64, t.rank, 0 from turns as t
      where t.prefix_key is not null and (t.levels = 0 or (select bool_or(u.is_kept_an_hour) from turns as u))
    ) as k
    offset 0
  ),
  near as (
    select
      (k.key >> 2 & 16777215)::integer as rank, (k.key >> 26 & 127)::integer as number,
      sum(case k.key & 3 when 1 then 1 when 2 then -1 else 0 end) over sorted - case k.key & 3 when 1 then 1 else 0 end > 0 as is_inside,
      case when lag(k.key) over sorted >> 26 = k.key >> 26 then (lag(k.key) over sorted >> 2 & 16777215)::integer end as last,
      case when lead(k.key) over sorted >> 26 = k.key >> 26 then (lead(k.key) over sorted >> 2 & 16777215)::integer end as next
    from keys as k window sorted as (order by k.key rows unbounded preceding)
  ),
  gaps as (
    select
      n.rank, n.number, n.last,
      case when n.is_inside then 0 else (select t.at from times as t)[n.rank] - (select t.at from times as t)[n.last] end as since,
      case when n.is_inside then 0 else (select t.at from times as t)[n.next] - (select t.at from times as t)[n.rank] end as until
    from near as n
    where (n.last is not null or n.next is not null) and n.rank >= (select t.first from times as t)
    offset 0
  ),
  found as (
    select
      g.rank, max(g.last) filter (where g.number = 0) as same, max(g.since) filter (where g.number = 0) as since_same,
      max(g.since) filter (where g.number = 64) as since_prefix, max(g.until) filter (where g.number = 64) as until_prefix,
      max(g.number) filter (where g.since <= 300000 and g.number between 1 and 63) as at_5,
      max(g.number) filter (where g.since <= 600000 and g.number between 1 and 63) as at_10,
      max(g.number) filter (where g.since <= 3600000 and g.number between 1 and 63) as at_60,
      max(g.number) filter (where g.until <= 600000 and g.number between 1 and 63) as at_next
    from gaps as g group by g.rank
  )
  select
    t.event_id, t.rank, q.last > t.attempt, case when t.prompt_key = (select x.prompts from times as x)[f.same] then f.since_same end,
    t.session_key = (select x.sessions from times as x)[f.same], t.has_next, t.levels > 0 or f.since_prefix is not null,
    case when t.levels > 0 then t.prompt_tokens * p.bytes[greatest(f.at_5, t.common_before)] / t.prompt_size
      else greatest(case when f.since_prefix <= 300000 then t.prefix_tokens end, case when t.since_turn <= 300000 then t.turn_tokens end) end,
    case when t.levels > 0 then t.prompt_tokens * p.bytes[greatest(f.at_10, t.common_before)] / t.prompt_size
      else greatest(case when f.since_prefix <= 600000 then t.prefix_tokens end, case when t.since_turn <= 600000 then t.turn_tokens end) end,
    case when t.levels > 0 then t.prompt_tokens * p.bytes[greatest(f.at_60, t.common_before)] / t.prompt_size
      else greatest(case when f.since_prefix <= 3600000 then t.prefix_tokens end, case when t.since_turn <= 3600000 then t.turn_tokens end) end,
    case when t.levels > 0 then t.prompt_tokens * p.bytes[greatest(f.at_next, t.common_after)] / t.prompt_size
      when f.until_prefix <= 600000 then t.prefix_tokens end, t.first_prompt, f.until_prefix
  from turns as t
  left join found as f using (rank)
  left join (select u.request_key, max(u.attempt) as last from turns as u where u.attempt > 1 group by u.request_key) as q on q.request_key = t.request_key
  cross join (select array_agg(observability_internal.block_position(n) order by n) as bytes from generate_series(1, 63) as n) as p
  where t.is_own;
$$;

comment on function observability_internal.compare_calls is 'The calls of a range, each with what its neighbours of the six hours before say of it.';
revoke execute on function observability_internal.compare_calls from public;
grant execute on function observability_internal.compare_calls to authenticated, service_role;
