-- Judges calls: what of each was spent without need, from its neighbours in request, session, prompt and hour.
-- Locks: none to apply, it only creates. At run time row locks on the days that it replaces.

create type observability_internal.judged_call as (
  event_id uuid,
  created_at timestamptz,
  day date,
  provider text,
  model text,
  feature text,
  environment text,
  operation text,
  service_tier text,
  status text,
  waits_nobody boolean,
  waste integer,
  prompt_tokens bigint,
  completion_tokens bigint,
  cached_tokens bigint,
  cache_write_tokens bigint,
  cache_write_1h_tokens bigint,
  reasoning_tokens bigint,
  cost numeric,
  shared_5 bigint,
  shared_10 bigint,
  shared_60 bigint,
  kept bigint,
  excess_prompt_tokens bigint,
  is_cut_off boolean,
  is_regenerated boolean,
  is_continued boolean,
  until_prefix interval
);

comment on type observability_internal.judged_call is 'A call beside its neighbours: the bits of saving_facts that it has by itself.';

create function observability_internal.judge_neighbours(from_time timestamptz, to_time timestamptz)
returns setof observability_internal.judged_call
language sql
stable
security invoker
set search_path = ''
set work_mem = '64MB'
set jit = off
rows 10000
as $$
  with calls as (
    select
      m.*, coalesce((m.usage_details ->> 'cache_write_1h_tokens')::bigint, 0) as hour_writes,
      m.request_group_id is not null and (m.status <> 'ok' or m.prompt_hash is not null)
      and max(m.attempt) over (partition by m.request_group_id, m.prompt_hash) > m.attempt as is_superseded,
      case when m.prompt_hash is not null then m.created_at - lag(m.created_at) over same end as since_same,
      coalesce(m.session_id = lag(m.session_id) over same, false) as is_same_session,
      lag(m.prompt_tokens + m.completion_tokens - m.reasoning_tokens) over turns as turn_tokens,
      case when m.session_id is not null then m.created_at - lag(m.created_at) over turns end as since_turn,
      case when m.session_id is not null then first_value(m.prompt_tokens) over turns end as first_prompt,
      m.session_id is not null and lead(m.created_at) over turns is not null as has_next,
      case when m.prefix_hash is not null then m.created_at - lag(m.created_at) over prefix end as since_prefix,
      case when m.prefix_hash is not null then lead(m.created_at) over prefix - m.created_at end as until_prefix
    from observability_internal.ai_usage_metrics as m
    where m.created_at >= judge_neighbours.from_time - interval '6 hours' and m.created_at < judge_neighbours.to_time
    window
      same as (partition by m.prompt_hash, m.provider, m.model, m.operation, m.status order by m.created_at, m.event_id),
      turns as (partition by m.session_id, m.feature, m.provider, m.model, m.status = 'error' order by m.created_at, m.event_id),
      prefix as (partition by m.prefix_hash, m.provider, m.model, m.status = 'error' order by m.created_at, m.event_id)
  )
  select
    c.event_id, c.created_at, (c.created_at at time zone 'UTC')::date, c.provider, c.model, coalesce(c.feature, ''),
    c.environment, c.operation, coalesce(lower(c.service_tier), ''), c.status,
    not c.streamed and c.session_id is null and c.status = 'ok',
    case when c.is_superseded then 1 when c.status = 'error' then 2 else 0 end
    + case
      when c.status <> 'ok' or c.operation = 'embeddings' or c.since_same is null then 0
      when c.is_same_session and c.since_same <= interval '1 minute' then 0  -- asked again on purpose
      when c.since_same <= interval '1 hour' then 12 when c.since_same <= interval '6 hours' then 4 else 0
    end
    + case when c.operation = 'embeddings' and c.status = 'ok' and (c.since_same is not null or t.first_at < c.created_at) then 16 else 0 end
    + case when c.status = 'cancelled' then 32 else 0 end
    + case
      when c.service_tier in ('priority', 'fast') and not c.streamed and c.session_id is null and c.status = 'ok' then 128 else 0
    end
    + case when b.event_id is not null or c.since_prefix is not null then 256 else 0 end
    + case
      when c.audio_input_tokens + c.audio_output_tokens > 0 or c.request_fees is not null
        or (c.usage_details - 'cache_write_1h_tokens' - 'reported_cost') not in ('{}') then 512 else 0
    end,
    c.prompt_tokens, c.completion_tokens, c.cached_tokens, c.cache_write_tokens, c.hour_writes, c.reasoning_tokens,
    c.estimated_cost,
    coalesce(b.shared_5, greatest(
      case when c.since_prefix <= interval '5 minutes' then p.prefix else 0 end, case when c.since_turn <= interval '5 minutes' then p.turn else 0 end)),
    coalesce(b.shared_10, greatest(
      case when c.since_prefix <= interval '10 minutes' then p.prefix else 0 end, case when c.since_turn <= interval '10 minutes' then p.turn else 0 end)),
    coalesce(b.shared_60, greatest(
      case when c.since_prefix <= interval '1 hour' then p.prefix else 0 end, case when c.since_turn <= interval '1 hour' then p.turn else 0 end)),
    coalesce(b.kept, case when c.until_prefix <= interval '10 minutes' then coalesce(c.prefix_tokens, 1024) else 0 end),
    case when c.first_prompt is null then 0 else greatest(c.prompt_tokens - greatest(8000, 4 * c.first_prompt), 0) end,
    c.finish_reason in ('length', 'max_tokens'), c.is_same_session and c.since_same <= interval '1 minute', c.has_next, c.until_prefix
  from calls as c
  cross join lateral (
    -- A prompt that is shorter than the turn before and its answer does not repeat it.
    select coalesce(c.prefix_tokens, least(c.prompt_tokens, 1024)) as prefix, case when c.turn_tokens <= c.prompt_tokens then c.turn_tokens else 0 end as turn
  ) as p
  left join observability_internal.beginnings(judge_neighbours.from_time, judge_neighbours.to_time) as b using (event_id)
  left join observability_internal.embedded_texts as t
    on c.operation = 'embeddings' and t.text_key = hashtextextended(c.prompt_hash, hashtext(c.model))
  where c.created_at >= judge_neighbours.from_time and c.cost_source in ('priced', 'provider') and c.estimated_cost > 0;
$$;

comment on function observability_internal.judge_neighbours is
'The calls of a range that cost something certain, with what their neighbours of the six hours before say of them.';
revoke execute on function observability_internal.judge_neighbours from public;
grant execute on function observability_internal.judge_neighbours to authenticated, service_role;

create function observability_internal.judge_calls(from_time timestamptz, to_time timestamptz)
returns setof observability_internal.saving_facts
language sql
stable
security invoker
set search_path = ''
set work_mem = '64MB'
set jit = off
rows 1000
as $$
  with calls as materialized (
    select * from observability_internal.judge_neighbours(judge_calls.from_time, judge_calls.to_time)
  ),
  -- Work that comes in a tenth of the day's five minutes or fewer, several calls in each: a job, not people.
  jobs as (
    select c.day, c.provider, c.model, c.feature, c.environment, c.operation
    from calls as c
    where c.waits_nobody
    group by c.day, c.provider, c.model, c.feature, c.environment, c.operation
    having count(*) >= 20 and count(distinct date_bin('5 minutes', c.created_at, '2000-01-01 00:00:00+00')) <= least(29, count(*) / 2)
  ),
  typical as (
    select
      c.day, c.provider, c.model, c.feature,
      percentile_disc(0.5) within group (order by c.completion_tokens - c.reasoning_tokens) as output_tokens
    from calls as c
    where c.status = 'ok' and c.completion_tokens > 0
    group by c.day, c.provider, c.model, c.feature
    having count(*) >= 20
  ),
  judged as (
    select
      c.*, c.waste + case when c.waits_nobody and j.day is not null then 64 else 0 end as bits,
      case
        when c.prompt_tokens > 272000 then 272000 when c.prompt_tokens > 256000 then 256000 when c.prompt_tokens > 200000 then 200000
        when c.prompt_tokens > 128000 then 128000 when c.prompt_tokens > 32000 then 32000 else 0
      end as band,
      c.cached_tokens + 127 as found,
      case when c.status = 'ok' then greatest(c.completion_tokens - c.reasoning_tokens - 4 * t.output_tokens, 0) else 0 end as excess_output,
      f.rating
    from calls as c
    left join jobs as j using (day, provider, model, feature, environment, operation)
    left join typical as t using (day, provider, model, feature)
    left join observability_internal.feedback as f using (event_id)
  )
  select
    d.day, d.provider, d.model, d.feature, d.environment, d.operation, d.service_tier, d.band, d.bits, count(*),
    sum(d.prompt_tokens)::bigint, sum(d.completion_tokens)::bigint, sum(d.cached_tokens)::bigint,
    sum(d.cache_write_tokens)::bigint, sum(d.cache_write_1h_tokens)::bigint, sum(d.reasoning_tokens)::bigint, sum(d.cost),
    -- Providers cache from 1,024 tokens on, by 128 tokens.
    coalesce(sum(d.shared_5 / 128 * 128 - d.cached_tokens) filter (where d.shared_5 >= 1024 and d.shared_5 > d.found), 0)::bigint,
    coalesce(sum(d.shared_10 / 128 * 128 - d.cached_tokens) filter (where d.shared_10 >= 1024 and d.shared_10 > d.found), 0)::bigint,
    coalesce(sum(d.shared_60 / 128 * 128 - d.cached_tokens) filter (where d.shared_60 >= 1024 and d.shared_60 > d.found), 0)::bigint,
    sum(greatest(d.kept - greatest(d.shared_10, d.cached_tokens + d.cache_write_tokens), 0))::bigint,
    coalesce(sum(d.excess_prompt_tokens), 0)::bigint, coalesce(sum(d.excess_output), 0)::bigint,
    sum(greatest(d.reasoning_tokens - 2 * (d.completion_tokens - d.reasoning_tokens), 0))::bigint,
    coalesce(sum(d.cache_write_1h_tokens)
    filter (where (d.until_prefix between interval '5 minutes' and interval '1 hour') is not true), 0)::bigint,
    count(*) filter (where d.is_cut_off), count(*) filter (where d.is_regenerated), count(*) filter (where d.is_continued),
    count(*) filter (where d.rating > 0), count(*) filter (where d.rating < 0),
    (array_agg(d.event_id order by d.cost desc, d.event_id))[1]
  from judged as d
  group by d.day, d.provider, d.model, d.feature, d.environment, d.operation, d.service_tier, d.band, d.bits;
$$;

comment on function observability_internal.judge_calls is 'The facts of a range by UTC day; the range begins and ends with a day.';
revoke execute on function observability_internal.judge_calls from public;
grant execute on function observability_internal.judge_calls to authenticated, service_role;

create function observability.judge_savings(max_days integer default 1, history_days integer default 35) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
set timezone = 'UTC'
as $$
declare
  v_today constant date := (now() at time zone 'UTC')::date;
  v_days date[];
  v_day date;
  v_waiting integer;
begin
  perform pg_advisory_xact_lock(hashtextextended('treering.judge_savings', 0));
  -- A day is judged when it is over, and again when calls of it came late.
  select array_agg(w.day order by w.day), max(w.waiting)
  into v_days, v_waiting
  from (
    select c.day, count(*) over () as waiting
    from (
      select (r.bucket at time zone 'UTC')::date as day, sum(r.requests) as calls
      from observability_internal.alert_cells(
        null, (v_today - history_days)::timestamp at time zone 'UTC', v_today::timestamp at time zone 'UTC'
      ) as r
      group by 1
    ) as c
    left join observability_internal.saving_days as d using (day)
    where d.calls is distinct from c.calls
    order by c.day
    limit max_days
  ) as w;
  foreach v_day in array coalesce(v_days, '{}') loop
    delete from observability_internal.saving_facts as f where f.day = v_day;
    insert into observability_internal.saving_facts
    select * from observability_internal.judge_calls(
      v_day::timestamp at time zone 'UTC', (v_day + 1)::timestamp at time zone 'UTC'
    );
    insert into observability_internal.embedded_texts as t (text_key, first_at, last_day)
    select hashtextextended(m.prompt_hash, hashtext(m.model)), min(m.created_at), v_day
    from observability_internal.ai_usage_metrics as m
    where m.created_at >= v_day::timestamp at time zone 'UTC' and m.created_at < (v_day + 1)::timestamp at time zone 'UTC'
      and m.operation = 'embeddings' and m.status = 'ok' and m.prompt_hash is not null
    group by 1
    on conflict (text_key) do update
    set first_at = least(t.first_at, excluded.first_at), last_day = greatest(t.last_day, excluded.last_day);
    insert into observability_internal.saving_days as d (day, calls, judged_at)
    select v_day, sum(r.requests), clock_timestamp()
    from observability_internal.alert_cells(
      null, v_day::timestamp at time zone 'UTC', (v_day + 1)::timestamp at time zone 'UTC'
    ) as r
    on conflict (day) do update set calls = excluded.calls, judged_at = excluded.judged_at;
  end loop;
  delete from observability_internal.saving_facts as f where f.day < v_today - 400;
  delete from observability_internal.saving_days as d where d.day < v_today - 400;
  delete from observability_internal.embedded_texts as t where t.last_day < v_today - 60;
  return jsonb_build_object('days', coalesce(cardinality(v_days), 0), 'waiting', greatest(coalesce(v_waiting, 0) - coalesce(cardinality(v_days), 0), 0));
end;
$$;

comment on function observability.judge_savings is
'Judges the calls of whole UTC days that are not judged yet or got calls since, the oldest first: {days, waiting}.';
revoke execute on function observability.judge_savings from public;
grant execute on function observability.judge_savings to service_role;
