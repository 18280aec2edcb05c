-- How a single call compares: with the calls of its feature before it, and within its session.
-- Locks: none; it only creates.

create function observability.get_call_context(event_id uuid, created_at timestamptz) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '4s'
set jit = off
as $$
declare
  v_call observability_internal.ai_usage_metrics;
begin
  perform observability_internal.require_access('{member,tenant,analyst,ops,service}');
  select m.* into v_call
  from observability_internal.ai_usage_metrics as m
  where m.event_id = get_call_context.event_id and m.created_at = get_call_context.created_at;
  if not found then
    return '{}'::jsonb;
  end if;
  -- Row level security leaves a member their own calls, so that theirs is compared with theirs.
  return (
    select jsonb_build_object(
      'calls', count(c.estimated_cost), 'median_cost', (percentile_disc(0.5) within group (order by c.estimated_cost))::text,
      'median_prompt_tokens', percentile_disc(0.5) within group (order by c.prompt_tokens),
      'median_completion_tokens', percentile_disc(0.5) within group (order by c.completion_tokens)
    )
    from (
      select m.estimated_cost, m.prompt_tokens, m.completion_tokens
      from observability_internal.ai_usage_metrics as m
      where m.created_at > v_call.created_at - interval '7 days' and m.created_at <= v_call.created_at
        and m.feature is not distinct from v_call.feature and m.estimated_cost is not null and m.status = 'ok'
        and m.event_id <> v_call.event_id
      order by m.created_at desc, m.event_id desc
      limit 2000
    ) as c
  ) || (
    -- A session of more calls than its page can have is not counted.
    select case when count(*) <= 50000 then jsonb_build_object(
      'session_calls', count(*), 'session_cost', (sum(s.estimated_cost) filter (where s.cost_source <> 'fallback'))::text,
      'session_place', count(*) filter (where (s.created_at, s.event_id) <= (v_call.created_at, v_call.event_id))
    ) else '{}' end
    from (
      select m.created_at, m.event_id, m.estimated_cost, m.cost_source
      from observability_internal.ai_usage_metrics as m
      where m.session_id = v_call.session_id
      limit 50001
    ) as s
  );
end;
$$;

comment on function observability.get_call_context is
'How a call compares: {calls, median_cost, median_prompt_tokens, median_completion_tokens} of up to 2,000 successful calls of its'
' feature in the 7 days before it, {session_calls, session_cost, session_place} of its session, the cost without the'
' fallback''s; empty without the call.';
revoke execute on function observability.get_call_context from public;
grant execute on function observability.get_call_context to authenticated, service_role;
