-- Takes a person's id out of rules, alerts, prices and settings, where only the name goes and the row stays.
-- Locks: none to apply, it only creates. At run time the evaluation's advisory lock and row locks on what names the
-- person.

create function observability_internal.forgotten_user() returns text
language sql
immutable
security invoker
set search_path = ''
as $$
  select '(forgotten)';
$$;

comment on function observability_internal.forgotten_user is 'The user id that the rows of all erased people share.';
revoke execute on function observability_internal.forgotten_user from public;
grant execute on function observability_internal.forgotten_user to authenticated, service_role; -- the back-test of ops asks for it

create function observability_internal.forget_json(document jsonb, user_id text) returns jsonb
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select replace(document::text, to_json(user_id)::text, to_json(observability_internal.forgotten_user())::text)::jsonb;
$$;

comment on function observability_internal.forget_json is 'A document in which every text that is this person''s id is the shared one.';
revoke execute on function observability_internal.forget_json from public;
grant execute on function observability_internal.forget_json to service_role;

create function observability_internal.forget_scope(scope jsonb, user_id text) returns jsonb
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case (scope -> 'user_id') - user_id
    when '[]' then null
    else jsonb_set(scope, '{user_id}', (scope -> 'user_id') - user_id)
  end;
$$;

comment on function observability_internal.forget_scope is 'A scope by users without this one; null where nobody is left.';
revoke execute on function observability_internal.forget_scope from public;
grant execute on function observability_internal.forget_scope to service_role;

create function observability_internal.forget_in_rules(user_id text) returns integer
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_name constant text := forget_in_rules.user_id;
  v_forgotten constant text := observability_internal.forgotten_user();
  v_rows integer;
  v_total integer := 0;
begin
  -- What watched this person alone has nothing left to watch.
  delete from observability_internal.budgets as b
  where b.scope -> 'user_id' ? v_name and observability_internal.forget_scope(b.scope, v_name) is null;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  delete from observability_internal.alert_rules as r
  where r.scope -> 'user_id' ? v_name and observability_internal.forget_scope(r.scope, v_name) is null;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  -- Who changed a row last is rewritten by its trigger.
  update observability_internal.budgets as b
  set
    scope = case when b.scope -> 'user_id' ? v_name then observability_internal.forget_scope(b.scope, v_name) else b.scope end,
    created_by = case when b.created_by = v_name then v_forgotten else b.created_by end
  where b.scope -> 'user_id' ? v_name or v_name in (b.created_by, b.updated_by);
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  update observability_internal.alert_rules as r
  set
    scope = case when r.scope -> 'user_id' ? v_name then observability_internal.forget_scope(r.scope, v_name) else r.scope end,
    created_by = case when r.created_by = v_name then v_forgotten else r.created_by end
  where r.scope -> 'user_id' ? v_name or v_name in (r.created_by, r.updated_by);
  get diagnostics v_rows = row_count;
  return v_total + v_rows;
end;
$$;

comment on function observability_internal.forget_in_rules is
'Takes a person out of rules and budgets; those that watch nobody else go. Returns how many rows.';
revoke execute on function observability_internal.forget_in_rules from public;

create function observability_internal.forget_in_alerts(user_id text) returns integer
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_name constant text := forget_in_alerts.user_id;
  v_text constant text := to_json(forget_in_alerts.user_id)::text;
  v_forgotten constant text := observability_internal.forgotten_user();
  v_rows integer;
  v_total integer := 0;
begin
  delete from observability_internal.notifications as n
  using observability_internal.alerts as a
  where n.alert_id = a.alert_id and a.group_key = v_name;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  update observability_internal.notifications as n
  set payload = observability_internal.forget_json(
    case when position(v_name in n.payload #>> '{alert,acknowledge_note}') > 0 then jsonb_set(
      n.payload, '{alert,acknowledge_note}', to_jsonb(replace(n.payload #>> '{alert,acknowledge_note}', v_name, v_forgotten))
    ) else n.payload end,
    v_name
  )
  where position(v_text in n.payload::text) > 0 or position(v_name in n.payload #>> '{alert,acknowledge_note}') > 0;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  delete from observability_internal.alert_states as s where s.group_key = v_name;
  delete from observability_internal.metric_values as v where v.group_key = v_name;
  delete from observability_internal.alert_silences as s where s.group_key = v_name;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  update observability_internal.alert_silences as s
  set created_by = case when s.created_by = v_name then v_forgotten else s.created_by end, note = replace(s.note, v_name, v_forgotten)
  where s.created_by = v_name or position(v_name in s.note) > 0;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  -- A firing alert of this person ends without a word: there is nobody to tell of any more.
  update observability_internal.alerts as a
  set
    state = 'resolved', resolved_at = coalesce(a.resolved_at, greatest(now(), a.started_at)),
    resolution = coalesce(a.resolution, 'no_data'), group_key = v_forgotten, evidence = '{}', is_end_told = true
  where a.group_key = v_name;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  update observability_internal.alerts as a
  set
    scope = observability_internal.forget_json(a.scope, v_name), evidence = observability_internal.forget_json(a.evidence, v_name),
    acknowledged_by = case when a.acknowledged_by = v_name then v_forgotten else a.acknowledged_by end,
    acknowledge_note = replace(a.acknowledge_note, v_name, v_forgotten)
  where a.acknowledged_by = v_name or position(v_name in a.acknowledge_note) > 0
    or position(v_text in a.scope::text || a.evidence::text) > 0;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  update observability_internal.alert_transitions as t
  set
    group_key = case when t.group_key = v_name then v_forgotten else t.group_key end,
    evidence = case when t.group_key = v_name then '{}' else observability_internal.forget_json(t.evidence, v_name) end,
    actor = case when t.actor = v_name then v_forgotten else t.actor end, note = replace(t.note, v_name, v_forgotten)
  where v_name in (t.group_key, t.actor) or position(v_name in t.note) > 0 or position(v_text in t.evidence::text) > 0;
  get diagnostics v_rows = row_count;
  return v_total + v_rows;
end;
$$;

comment on function observability_internal.forget_in_alerts is
'Takes a person out of alerts, their states, transitions, silences and messages; returns how many rows.';
revoke execute on function observability_internal.forget_in_alerts from public;

create function observability_internal.forget_names(user_id text) returns integer
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_forgotten constant text := observability_internal.forgotten_user();
  v_rows integer;
  v_total integer := 0;
begin
  -- No rule is being evaluated meanwhile: what it would write could name the person again.
  perform pg_advisory_xact_lock(hashtextextended('treering.evaluate_alerts', 0));
  delete from observability_internal.members as m where m.user_id = forget_names.user_id;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  update observability_internal.members as m set added_by = v_forgotten where m.added_by = forget_names.user_id;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  update observability_internal.model_prices as m set created_by = v_forgotten where m.created_by = forget_names.user_id;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows + observability_internal.forget_in_rules(forget_names.user_id)
    + observability_internal.forget_in_alerts(forget_names.user_id) + observability_internal.forget_in_savings(forget_names.user_id);
  update observability_internal.notification_channels as c
  set created_by = case when c.created_by = forget_names.user_id then v_forgotten else c.created_by end
  where forget_names.user_id in (c.created_by, c.updated_by);
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  update observability_internal.exports as x
  set
    exported_by = case when x.exported_by = forget_names.user_id then v_forgotten else x.exported_by end,
    filters = observability_internal.forget_json(x.filters, forget_names.user_id)
  where x.exported_by = forget_names.user_id or position(to_json(forget_names.user_id)::text in x.filters::text) > 0;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  delete from observability_internal.rejected_events as e where e.event ->> 'user_id' = forget_names.user_id;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  -- A view of others that asks for this person asks for somebody else now, so it goes too.
  delete from observability_internal.saved_views as v
  where v.owner = forget_names.user_id or v.name = forget_names.user_id
    or position(to_json(forget_names.user_id)::text in v.query::text) > 0;
  get diagnostics v_rows = row_count;
  return v_total + v_rows;
end;
$$;

comment on function observability_internal.forget_names is
'Takes a person out of members, rejected events, rules, budgets, alerts, messages, exports, saved views, scenarios, and'
' who changed prices and channels; returns how many rows.';
revoke execute on function observability_internal.forget_names from public;
grant execute on function observability_internal.forget_names to service_role;
