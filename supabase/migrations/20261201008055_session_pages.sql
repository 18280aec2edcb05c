-- The page of one session: its turns, how the context grows, what each turn cost.
-- Locks: none; it only creates.

-- Most sessions have several turns, whose equal keys the index holds once.
create index ai_usage_metrics_session_id_idx on observability_internal.ai_usage_metrics (session_id)
where session_id is not null;

-- Security definer: what was archived is no secret, but the table of it is for the service alone.
create function observability_internal.archived_until(before timestamptz) returns timestamptz
language sql
stable
security definer
set search_path = ''
as $$
  select max((a.month + interval '1 month') at time zone 'UTC')
  from observability_internal.archived_months as a
  where a.kind = 'usage' and not a.is_restored and a.row_count > 0
    and a.month at time zone 'UTC' <= archived_until.before;
$$;

comment on function observability_internal.archived_until is
'The end of the newest month whose calls were moved to the archive and that began before a moment; null where there is none.';
revoke execute on function observability_internal.archived_until from public;
grant execute on function observability_internal.archived_until to authenticated, service_role;

-- A turn sends again what the turn before of the same user, feature and operation ended with, if its prompt did not
-- shrink; of one that did, only what the provider read from its cache is sure to have been sent before.
create function observability_internal.session_turns(session_id text, user_id text)
returns table (
  turn bigint, event_id uuid, created_at timestamptz, user_id text, tenant_id text, tags jsonb, feature text,
  provider text, model text, status text, is_estimated boolean, prompt_tokens bigint, cached_tokens bigint,
  completion_tokens bigint, cache_write_tokens bigint, reasoning_tokens bigint, audio_input_tokens bigint,
  audio_output_tokens bigint, resent_tokens bigint, cost numeric, fallback_cost numeric, latency_ms double precision
)
language sql
stable
security invoker
set search_path = ''
as $$
  select
    row_number() over (order by m.created_at, m.event_id), m.event_id, m.created_at, m.user_id, m.tenant_id, m.tags,
    m.feature, m.provider, m.model, m.status, m.usage_source <> 'reported', m.prompt_tokens, m.cached_tokens,
    m.completion_tokens, m.cache_write_tokens, m.reasoning_tokens, m.audio_input_tokens, m.audio_output_tokens,
    case
      when m.operation = 'embeddings' or m.prompt_tokens = 0 or lag(m.prompt_tokens) over w is null then 0
      when m.prompt_tokens < lag(m.prompt_tokens) over w then m.cached_tokens
      else greatest(
        m.cached_tokens, least(m.prompt_tokens, lag(m.prompt_tokens + m.completion_tokens - m.reasoning_tokens) over w)
      )
    end,
    case when m.cost_source <> 'fallback' then m.estimated_cost end,
    case when m.cost_source = 'fallback' then m.estimated_cost end, m.latency_ms
  from observability_internal.ai_usage_metrics as m
  where m.session_id = session_turns.session_id and m.user_id = coalesce(session_turns.user_id, m.user_id)
  window w as (
    partition by m.user_id, coalesce(m.feature, ''), m.operation, m.prompt_tokens = 0 order by m.created_at, m.event_id
  );
$$;

comment on function observability_internal.session_turns is
'The calls of a session that the caller sees, numbered from 1 in their order, all or one user''s; cost without the fallback''s;'
' resent_tokens: what of the prompt the turn before had sent or received.';
revoke execute on function observability_internal.session_turns from public;
grant execute on function observability_internal.session_turns to authenticated, service_role;

create function observability_internal.session_totals(session_id text, user_id text) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with t as materialized (
    select s.*, count(*) over () as turns from observability_internal.session_turns(session_id, user_id) as s
  )
  select jsonb_build_object(
    'turns', count(*), 'first_at', min(t.created_at), 'last_at', max(t.created_at),
    'errors', count(*) filter (where t.status = 'error'), 'cancelled', count(*) filter (where t.status = 'cancelled'),
    'prompt_tokens', coalesce(sum(t.prompt_tokens), 0), 'cached_tokens', coalesce(sum(t.cached_tokens), 0),
    'completion_tokens', coalesce(sum(t.completion_tokens), 0), 'resent_tokens', coalesce(sum(t.resent_tokens), 0),
    'cost', sum(t.cost)::text, 'fallback_cost', coalesce(sum(t.fallback_cost), 0)::text, 'priced_turns', count(t.cost),
    'fallback_turns', count(t.fallback_cost), 'unpriced_turns', count(*) - count(t.cost) - count(t.fallback_cost),
    'estimated_turns', count(*) filter (where t.is_estimated),
    'first_prompt_tokens', (array_agg(t.prompt_tokens order by t.turn) filter (where t.prompt_tokens > 0))[1],
    'last_prompt_tokens', (array_agg(t.prompt_tokens order by t.turn desc) filter (where t.prompt_tokens > 0))[1],
    'late_turns', count(*) filter (where t.turn > t.turns - (t.turns + 3) / 4),
    'late_cost', (sum(t.cost) filter (where t.turn > t.turns - (t.turns + 3) / 4))::text
  ) || jsonb_build_object(
    'users', coalesce((array_agg(distinct t.user_id))[:20], '{}'), 'user_count', count(distinct t.user_id),
    'tenants', coalesce((array_agg(distinct t.tenant_id) filter (where t.tenant_id is not null))[:20], '{}'),
    'features', coalesce((array_agg(distinct t.feature) filter (where t.feature is not null))[:20], '{}'),
    'tags', (
      select coalesce(jsonb_object_agg(g.name, g.chosen), '{}')
      from (
        select e.key as name, (array_agg(distinct e.value))[:20] as chosen
        from t cross join lateral jsonb_each_text(t.tags) as e
        group by e.key
      ) as g
    )
  ) || jsonb_build_object('kinds', (
    select coalesce(jsonb_agg(to_jsonb(k) order by k.model, k.provider), '[]')
    from (
      select
        t.provider, t.model, count(*) as requests, sum(t.cost)::text as cost, sum(t.prompt_tokens) as prompt_tokens,
        sum(t.completion_tokens) as completion_tokens, sum(t.cached_tokens) as cached_tokens,
        sum(t.cache_write_tokens) as cache_write_tokens, sum(t.reasoning_tokens) as reasoning_tokens,
        sum(t.audio_input_tokens) as audio_input_tokens, sum(t.audio_output_tokens) as audio_output_tokens,
        sum(least(t.resent_tokens, t.cached_tokens)) as resent_cached_tokens,
        sum(greatest(t.resent_tokens - t.cached_tokens, 0)) as resent_uncached_tokens
      from t
      where t.cost is not null
      group by t.provider, t.model
    ) as k
  ))
  from t;
$$;

comment on function observability_internal.session_totals is
'Sums of a session, whose it was, what its last quarter of turns cost, and tokens and cost of its priced turns by model.';
revoke execute on function observability_internal.session_totals from public;
grant execute on function observability_internal.session_totals to authenticated, service_role;

create function observability_internal.session_points(session_id text, user_id text, turns bigint, max_points integer)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(p) order by p.first_turn), '[]')
  from (
    select
      min(t.turn) as first_turn, max(t.turn) as last_turn, min(t.created_at) as first_at, max(t.created_at) as last_at,
      max(t.prompt_tokens) as prompt_tokens,
      (array_agg(t.cached_tokens order by t.prompt_tokens desc, t.turn))[1] as cached_tokens,
      sum(t.cost)::text as cost, count(t.cost) as priced_turns,
      (sum(sum(t.cost)) over (order by min(t.turn)))::text as cumulative_cost
    from (
      select s.*, (s.turn - 1) / ((session_points.turns + max_points - 1) / max_points) as place
      from observability_internal.session_turns(session_id, user_id) as s
    ) as t
    group by t.place
  ) as p;
$$;

comment on function observability_internal.session_points is
'A session in at most max_points stretches of equally many turns: the largest prompt of each with its cached part, what its'
' turns cost, and what all cost so far.';
revoke execute on function observability_internal.session_points from public;
grant execute on function observability_internal.session_points to authenticated, service_role;

create function observability.get_session(session_id text, filters jsonb default '{}') returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
as $$
declare
  v_access constant text := observability_internal.require_access('{member,tenant,analyst,ops,service}');
  v_most constant integer := 50000;
  v_user constant text := filters ->> 'user_id';
  v_first constant bigint := coalesce(filters ->> 'first_turn', '1')::bigint;
  v_limit constant integer := coalesce(filters ->> 'limit', '50')::integer;
  v_count bigint;
  v_is_demo boolean;
  v_totals jsonb;
begin
  if session_id is null or v_first < 1 or v_limit not between 1 and 200 or exists (
    select from jsonb_object_keys(filters) as k (name) where k.name not in ('user_id', 'first_turn', 'limit')
  ) then
    raise exception 'a session has an id, and of filters user_id, first_turn (from 1) and limit (1 to 200)' using errcode = '22023';
  end if;
  select count(*), coalesce(bool_or(c.environment = 'demo'), false) into v_count, v_is_demo
  from (
    select m.environment
    from observability_internal.ai_usage_metrics as m
    where m.session_id = get_session.session_id and m.user_id = coalesce(v_user, m.user_id)
    limit v_most + 1
  ) as c;
  if v_count > v_most then
    raise exception 'the session has more than % calls: read them with get_events', v_most using errcode = '54000';
  end if;
  v_totals := observability_internal.session_totals(get_session.session_id, v_user);
  return jsonb_build_object(
    'access', case when v_access = 'service' then 'ops' else v_access end,
    'archived_until', observability_internal.archived_until(coalesce((v_totals ->> 'last_at')::timestamptz, now())),
    'has_demo_data', v_is_demo, 'totals', v_totals, 'first_turn', v_first,
    'points', observability_internal.session_points(get_session.session_id, v_user, v_count, 200),
    'turns', (
      select coalesce(jsonb_agg((to_jsonb(m) - 'batch_id') || jsonb_build_object(
        'estimated_cost', m.estimated_cost::text, 'provider_cost', m.provider_cost::text, 'request_fees', m.request_fees::text
      ) order by p.turn), '[]')
      from (
        select t.turn, t.event_id, t.created_at
        from observability_internal.session_turns(get_session.session_id, v_user) as t
        where t.turn >= v_first
        order by t.turn
        limit v_limit
      ) as p
      inner join observability_internal.ai_usage_metrics as m on p.event_id = m.event_id and p.created_at = m.created_at
    )
  );
end;
$$;

comment on function observability.get_session is
'One session: {access, archived_until, has_demo_data, totals, points (at most 200), first_turn, turns (as of get_events, in'
' their order)}; filters user_id, first_turn and limit; refused beyond 50,000 calls.';
revoke execute on function observability.get_session from public;
grant execute on function observability.get_session to authenticated, service_role;
