-- Judges calls: what of each was spent without need, from its neighbours in request, session, prompt and hour.
-- Locks: none to apply, it only creates. At run time row locks on the days that it replaces.

create type observability_internal.judged_call as (
  event_id uuid,
  rank integer,
  created_at timestamptz,
  day date,
  provider text,
  model text,
  feature text,
  environment text,
  operation text,
  service_tier text,
  feature_key bigint,
  user_key bigint,
  is_ok boolean,
  waits_nobody boolean,
  band integer,
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
  tool_retries bigint,
  until_prefix bigint
);

comment on type observability_internal.judged_call is
'A call beside its neighbours: the bits of saving_facts that it has by itself. rank: its place in time; until_prefix: milliseconds.';

create function observability_internal.judge_neighbours(from_time timestamptz, to_time timestamptz)
returns setof observability_internal.judged_call
language sql
stable
security invoker
set search_path = ''
set work_mem = '64MB'
set jit = off
rows 100000
as $$
  select
    m.event_id, n.rank, m.created_at, (m.created_at at time zone 'UTC')::date, m.provider, m.model, coalesce(m.feature, ''),
    m.environment, m.operation, coalesce(lower(m.service_tier collate "C"), ''),
    hashtextextended(coalesce(m.feature, ''), hashtextextended(m.model, hashtext(m.provider))),
    hashtextextended(m.user_id, 0), m.status = 'ok',
    not m.streamed and m.session_id is null and m.status = 'ok',
    case
      when m.prompt_tokens <= 32000 then 0 when m.prompt_tokens <= 128000 then 32000 when m.prompt_tokens <= 200000 then 128000
      when m.prompt_tokens <= 256000 then 200000 when m.prompt_tokens <= 272000 then 256000 else 272000
    end,
    case when n.is_superseded and (m.status <> 'ok' or m.prompt_hash is not null) then 1 when m.status = 'error' then 2 else 0 end
    + case
      when m.status <> 'ok' then 0
      when m.operation = 'embeddings' then case when n.since_same is not null or t.first_at < m.created_at then 16 else 0 end
      when n.since_same is null then 0
      when n.is_same_session and n.since_same <= 60000 then 0  -- asked again on purpose
      when n.since_same < m.latency_ms then 0  -- asked side by side: there was no answer to keep yet
      when n.since_same <= 3600000 then 12 when n.since_same <= 21600000 then 4 else 0
    end
    + case when m.status = 'cancelled' then 32 else 0 end
    + case
      when m.service_tier in ('priority', 'fast') and not m.streamed and m.session_id is null and m.status = 'ok' then 128 else 0
    end
    + case when n.is_measured then 256 else 0 end
    + case
      when m.audio_input_tokens + m.audio_output_tokens > 0 or m.request_fees is not null
        or (m.usage_details - 'cache_write_1h_tokens' - 'reported_cost') not in ('{}') then 512 else 0
    end,
    m.prompt_tokens, m.completion_tokens, m.cached_tokens, m.cache_write_tokens,
    coalesce((m.usage_details ->> 'cache_write_1h_tokens')::bigint, 0), m.reasoning_tokens, m.estimated_cost,
    coalesce(n.shared_5, 0), coalesce(n.shared_10, 0), coalesce(n.shared_60, 0), coalesce(n.kept, 0),
    case when n.first_prompt is null then 0 else greatest(m.prompt_tokens - greatest(8000, 4 * n.first_prompt), 0) end,
    m.finish_reason in ('length', 'max_tokens'), n.is_same_session and n.since_same <= 60000, n.has_next,
    -- Noted by the client; whoever writes metadata may write anything there.
    case
      when jsonb_typeof(m.metadata -> 'treering_tool_retries') = 'number'
        then least(greatest((m.metadata ->> 'treering_tool_retries')::numeric, 0), 1000)::bigint
    end, n.until_prefix
  from observability_internal.ai_usage_metrics as m
  inner join observability_internal.compare_calls(judge_neighbours.from_time, judge_neighbours.to_time) as n using (event_id)
  left join observability_internal.embedded_texts as t
    on m.operation = 'embeddings' and t.text_key = hashtextextended(m.prompt_hash, hashtext(m.model))
  where m.created_at >= judge_neighbours.from_time and m.created_at < judge_neighbours.to_time
    and m.cost_source in ('priced', 'provider') and m.estimated_cost > 0;
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
  -- Work that comes in a tenth of the day's five minutes or fewer, several calls in each: a job, not people, who make few
  -- calls each and seldom many at once.
  jobs as (
    select c.day, c.feature_key, c.environment, c.operation
    from calls as c
    where c.waits_nobody
    group by c.day, c.feature_key, c.environment, c.operation
    having count(*) >= 20 and count(distinct date_bin('5 minutes', c.created_at, '2000-01-01 00:00:00+00')) <= least(29, count(*) / 2)
      and (
        count(distinct c.user_key) <= greatest(1, count(*) / 10)
        or count(*) >= 10 * count(distinct date_bin('5 minutes', c.created_at, '2000-01-01 00:00:00+00'))
      )
  ),
  -- The median by counting equal lengths: many times fewer rows to sort.
  lengths as (
    select
      l.*, sum(l.calls) over (partition by l.day, l.feature_key order by l.tokens) as until_here,
      sum(l.calls) over (partition by l.day, l.feature_key) as total
    from (
      select c.day, c.feature_key, c.completion_tokens - c.reasoning_tokens as tokens, count(*) as calls
      from calls as c
      where c.is_ok and c.completion_tokens > 0
      group by c.day, c.feature_key, c.completion_tokens - c.reasoning_tokens
    ) as l
  ),
  typical as (
    select l.day, l.feature_key, min(l.tokens) as output_tokens
    from lengths as l
    where l.total >= 20 and 2 * l.until_here >= l.total
    group by l.day, l.feature_key
  ),
  sums as (
    select
      c.day, c.provider, c.model, c.feature, c.environment, c.operation, c.service_tier, c.band,
      c.waste + case when c.waits_nobody and j.day is not null then 64 else 0 end as bits, count(*) as calls,
      sum(c.prompt_tokens)::bigint as prompt, sum(c.completion_tokens)::bigint as completion, sum(c.cached_tokens)::bigint as cached,
      sum(c.cache_write_tokens)::bigint as written, sum(c.cache_write_1h_tokens)::bigint as written_1h,
      sum(c.reasoning_tokens)::bigint as reasoning, sum(c.cost) as cost,
      -- Providers cache from 1,024 tokens on, by 128 tokens.
      sum(case when c.shared_5 >= 1024 and c.shared_5 > c.cached_tokens + 127 then c.shared_5 / 128 * 128 - c.cached_tokens else 0 end) as missed_5,
      sum(case when c.shared_10 >= 1024 and c.shared_10 > c.cached_tokens + 127 then c.shared_10 / 128 * 128 - c.cached_tokens else 0 end) as missed_10,
      sum(case when c.shared_60 >= 1024 and c.shared_60 > c.cached_tokens + 127 then c.shared_60 / 128 * 128 - c.cached_tokens else 0 end) as missed_60,
      sum(greatest(c.kept - greatest(c.shared_10, c.cached_tokens + c.cache_write_tokens), 0)) as first,
      sum(c.excess_prompt_tokens) as excess_prompt,
      sum(case when c.is_ok then greatest(c.completion_tokens - c.reasoning_tokens - 4 * t.output_tokens, 0) else 0 end) as excess_output,
      sum(greatest(c.reasoning_tokens - 2 * (c.completion_tokens - c.reasoning_tokens), 0)) as excess_reasoning,
      sum(case when c.until_prefix between 300000 and 3600000 then 0 else c.cache_write_1h_tokens end) as short_lived,
      count(*) filter (where c.is_cut_off) as cut_off, count(*) filter (where c.is_regenerated) as regenerated,
      count(*) filter (where c.is_continued) as continued, coalesce(sum(c.tool_retries), 0) as tool_retries,
      count(*) filter (where f.rating > 0) as liked, count(*) filter (where f.rating < 0) as disliked,
      -- The dearest call: what it cost, in parts of 1e-8 $ up to 2,700 $, above the 24 bits of its rank.
      max(least(c.cost * 1e8, 270000000000)::bigint << 24 | c.rank) & 16777215 as dearest
    from calls as c
    left join jobs as j using (day, feature_key, environment, operation)
    left join typical as t using (day, feature_key)
    left join observability_internal.feedback as f using (event_id)
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9
  )
  select
    s.day, s.provider, s.model, s.feature, s.environment, s.operation, s.service_tier, s.band, s.bits, s.calls, s.prompt, s.completion,
    s.cached, s.written, s.written_1h, s.reasoning, s.cost, s.missed_5, s.missed_10, s.missed_60, s.first, s.excess_prompt,
    s.excess_output, s.excess_reasoning, s.short_lived, s.cut_off, s.regenerated, s.continued, s.tool_retries, s.liked, s.disliked, c.event_id
  from sums as s
  inner join calls as c on c.rank = s.dearest;
$$;

comment on function observability_internal.judge_calls is 'The facts of a range by UTC day; the range begins and ends with a day.';
revoke execute on function observability_internal.judge_calls from public;
grant execute on function observability_internal.judge_calls to authenticated, service_role;

create function observability.judge_savings(max_days integer default 7, history_days integer default 35) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
set timezone = 'UTC'
as $$
declare
  -- Days at once, so that what came before the first of them is read once; as many as take a second or so.
  v_most constant bigint := 100000;
  v_today constant date := current_date;
  v_days date[];
  v_first date;
  v_end date;
  v_waiting integer;
begin
  perform pg_advisory_xact_lock(hashtextextended('treering.judge_savings', 0));
  -- A day is judged when it is over, and again when calls of it came late, were forgotten or cost something else.
  select array_agg(w.day) filter (where w.number = 1 or (w.number <= max_days and w.until_here <= v_most)), max(w.waiting)
  into v_days, v_waiting
  from (
    select
      c.day, count(*) over () as waiting, row_number() over (order by c.day) as number, sum(c.calls) over (order by c.day) as until_here
    from (
      select r.bucket::date as day, sum(r.requests) as calls, coalesce(sum(r.cost), 0) as cost
      from observability_internal.alert_cells(null, (v_today - history_days)::timestamptz, v_today::timestamptz) as r
      group by 1
    ) as c
    left join observability_internal.saving_days as d using (day)
    where (d.calls, d.cost) is distinct from (c.calls, c.cost)
  ) as w;
  for v_first, v_end in
    select min(r.day), max(r.day) + 1
    from (select d.day, d.day - row_number() over (order by d.day)::integer as run from unnest(v_days) as d (day)) as r
    group by r.run
    order by 1
  loop
    delete from observability_internal.saving_facts as f where f.day >= v_first and f.day < v_end;
    insert into observability_internal.saving_facts
    select * from observability_internal.judge_calls(v_first::timestamptz, v_end::timestamptz);
    insert into observability_internal.embedded_texts as t (text_key, first_at, last_day)
    select hashtextextended(m.prompt_hash, hashtext(m.model)), min(m.created_at), max(m.created_at)::date
    from observability_internal.ai_usage_metrics as m
    where m.created_at >= v_first::timestamptz and m.created_at < v_end::timestamptz
      and m.operation = 'embeddings' and m.status = 'ok' and m.prompt_hash is not null
    group by 1
    on conflict (text_key) do update
    set first_at = least(t.first_at, excluded.first_at), last_day = greatest(t.last_day, excluded.last_day);
    insert into observability_internal.saving_days as d (day, calls, cost, judged_at)
    select r.bucket::date, sum(r.requests), coalesce(sum(r.cost), 0), clock_timestamp()
    from observability_internal.alert_cells(null, v_first::timestamptz, v_end::timestamptz) as r
    group by 1
    on conflict (day) do update set calls = excluded.calls, cost = excluded.cost, judged_at = excluded.judged_at;
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
