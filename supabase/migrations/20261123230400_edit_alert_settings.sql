-- Purpose: what ops change in Settings: rules with all their fields, budgets with their rules, channels with sealed secrets.
-- Locks: ROW EXCLUSIVE on the rows changed.

create or replace function observability_internal.describe_rule(rule observability.alert_rules) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'rule_id', rule.rule_id, 'name', rule.name, 'metric', rule.metric, 'window_s', rule.window_s,
    'period', rule.period, 'timezone', rule.timezone, 'comparator', rule.comparator,
    'threshold', rule.threshold::text, 'critical_threshold', rule.critical_threshold::text,
    'resolve_threshold', rule.resolve_threshold::text, 'steps', rule.steps::text[], 'for_s', rule.for_s,
    'minimum_sample', rule.minimum_sample, 'scope', rule.scope, 'group_by', rule.group_by,
    'group_limit', rule.group_limit, 'no_data', rule.no_data, 'renotify_s', rule.renotify_s
  )
  || jsonb_build_object(
    'severity', rule.severity, 'is_enabled', rule.is_enabled, 'budget_id', rule.budget_id,
    'is_managed', rule.is_managed,
    'channels', (
      select coalesce(jsonb_agg(rc.channel_id order by rc.channel_id), '[]')
      from observability.alert_rule_channels as rc
      where rc.rule_id = rule.rule_id
    ),
    'created_at', rule.created_at, 'created_by', rule.created_by, 'updated_at', rule.updated_at,
    'updated_by', rule.updated_by,
    'state', coalesce((
      select g.state from observability_internal.alert_states as g
      where g.rule_id = rule.rule_id
      order by array_position('{firing,pending,resolved,ok}', g.state)
      limit 1
    ), 'ok'),
    'firing_groups', (
      select count(*) from observability_internal.alert_states as g where g.rule_id = rule.rule_id and g.state = 'firing'
    ),
    'groups_over_limit', coalesce(s.groups_over_limit, 0), 'pending_since', s.pending_since,
    'value', trim_scale(s.value)::text, 'sample_count', s.sample_count, 'evaluated_at', s.evaluated_at,
    'last_error', s.last_error, 'last_error_at', s.last_error_at,
    'silenced_until', (
      select max(q.ends_at) from observability.alert_silences as q
      where q.rule_id = rule.rule_id and q.group_key is null and q.ends_at > now()
    )
  )
  from (select) as one
  left join observability_internal.alert_states as s on s.rule_id = rule.rule_id and s.group_key = '';
$$;

create function observability_internal.read_rule(document jsonb, base observability.alert_rules)
returns observability.alert_rules
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_rule observability.alert_rules;
begin
  perform observability_internal.check_keys(
    document,
    '{rule_id,name,metric,window_s,period,timezone,comparator,threshold,critical_threshold,resolve_threshold,for_s,minimum_sample,scope,group_by,group_limit,no_data,renotify_s,severity,is_enabled,channels,budget_id}',
    'rule'
  );
  v_rule := jsonb_populate_record(
    base,
    case when base.rule_id is null then jsonb_build_object(
      'for_s', 0, 'minimum_sample', 1, 'severity', 'warning', 'is_enabled', true, 'timezone', 'UTC',
      'comparator', 'above', 'group_limit', 50, 'no_data', 'ok', 'is_managed', false,
      'window_s', case document ->> 'period' when 'day' then 86400 when 'week' then 604800 when 'month' then 2678400 end
    ) else '{}' end || document
  );
  v_rule.scope := observability_internal.normalize_scope(v_rule.scope);
  return v_rule;
end;
$$;

comment on function observability_internal.read_rule(jsonb, observability.alert_rules) is 'The rule that a document describes, over another one or over the defaults; refuses unknown keys.';

create function observability_internal.set_rule_channels(rule_id bigint, channels jsonb) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  if jsonb_typeof(channels) is distinct from 'array' then
    raise exception 'channels is a list of channel ids' using errcode = '22023';
  end if;
  delete from observability.alert_rule_channels as rc
  where rc.rule_id = set_rule_channels.rule_id and not channels @> to_jsonb(rc.channel_id);
  insert into observability.alert_rule_channels (rule_id, channel_id)
  select set_rule_channels.rule_id, element.id::bigint from jsonb_array_elements_text(channels) as element (id)
  on conflict do nothing;
end;
$$;

comment on function observability_internal.set_rule_channels(bigint, jsonb) is 'Makes these the channels of a rule.';

create or replace function observability.save_alert_rule(rule jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_row observability.alert_rules;
begin
  perform observability_internal.require_access('{ops,service}');
  if rule ->> 'rule_id' is null then
    v_row := observability_internal.read_rule(rule, null);
    insert into observability.alert_rules as r (
      name, metric, window_s, period, timezone, comparator, threshold, critical_threshold, resolve_threshold, for_s,
      minimum_sample, scope, group_by, group_limit, no_data, renotify_s, severity, is_enabled, budget_id
    )
    values (
      v_row.name, v_row.metric, v_row.window_s, v_row.period, v_row.timezone, v_row.comparator, v_row.threshold,
      v_row.critical_threshold, v_row.resolve_threshold, v_row.for_s, v_row.minimum_sample, v_row.scope,
      v_row.group_by, v_row.group_limit, v_row.no_data, v_row.renotify_s, v_row.severity, v_row.is_enabled,
      v_row.budget_id
    )
    returning r.* into v_row;
  else
    select * into v_row from observability.alert_rules as r where r.rule_id = (rule ->> 'rule_id')::bigint for update;
    if not found then
      raise exception 'there is no rule %', left(rule ->> 'rule_id', 20) using errcode = '22023';
    end if;
    if v_row.is_managed then
      raise exception 'this rule belongs to a budget: change the budget' using errcode = '22023';
    end if;
    v_row := observability_internal.read_rule(rule, v_row);
    update observability.alert_rules as r
    set
      name = v_row.name, metric = v_row.metric, window_s = v_row.window_s, period = v_row.period,
      timezone = v_row.timezone, comparator = v_row.comparator, threshold = v_row.threshold,
      critical_threshold = v_row.critical_threshold, resolve_threshold = v_row.resolve_threshold, for_s = v_row.for_s,
      minimum_sample = v_row.minimum_sample, scope = v_row.scope, group_by = v_row.group_by,
      group_limit = v_row.group_limit, no_data = v_row.no_data, renotify_s = v_row.renotify_s,
      severity = v_row.severity, is_enabled = v_row.is_enabled, budget_id = v_row.budget_id
    where r.rule_id = v_row.rule_id
    returning r.* into v_row;
  end if;
  if rule ? 'channels' then
    perform observability_internal.set_rule_channels(v_row.rule_id, rule -> 'channels');
  end if;
  return observability_internal.describe_rule(v_row);
end;
$$;

create function observability_internal.describe_budget(budget observability.budgets) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'budget_id', budget.budget_id, 'name', budget.name, 'amount', budget.amount::text, 'period', budget.period,
    'timezone', budget.timezone, 'scope', budget.scope, 'steps', budget.steps::text[],
    'forecast_step', budget.forecast_step::text, 'is_enabled', budget.is_enabled, 'created_at', budget.created_at,
    'created_by', budget.created_by, 'updated_at', budget.updated_at, 'updated_by', budget.updated_by,
    'channels', (
      select coalesce(jsonb_agg(distinct rc.channel_id), '[]')
      from observability.alert_rule_channels as rc
      inner join observability.alert_rules as r on rc.rule_id = r.rule_id
      where r.budget_id = budget.budget_id and r.is_managed
    ),
    'used', (
      select trim_scale(s.value)::text
      from observability_internal.alert_states as s
      inner join observability.alert_rules as r on s.rule_id = r.rule_id
      where r.budget_id = budget.budget_id and r.is_managed and r.metric = 'budget_used' and s.group_key = ''
    ),
    'forecast', (
      select trim_scale(round(s.value, 6))::text
      from observability_internal.alert_states as s
      inner join observability.alert_rules as r on s.rule_id = r.rule_id
      where r.budget_id = budget.budget_id and r.is_managed and r.metric = 'budget_forecast' and s.group_key = ''
    )
  );
$$;

comment on function observability_internal.describe_budget(observability.budgets) is 'A budget with its channels and the shares of it that are used and expected; decimals as text.';

create function observability_internal.keep_budget_rule(
  budget observability.budgets, metric text, is_wanted boolean, channels jsonb
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule_id bigint;
  v_name constant text := case metric when 'budget_used' then 'Budget ' || budget.name else 'Forecast of budget ' || budget.name end;
  v_steps constant numeric[] := case metric when 'budget_used' then budget.steps end;
begin
  if not is_wanted then
    delete from observability.alert_rules as r
    where r.budget_id = budget.budget_id and r.metric = keep_budget_rule.metric and r.is_managed;
    return;
  end if;
  update observability.alert_rules as r
  set
    name = v_name, threshold = coalesce(v_steps[1], budget.forecast_step), steps = v_steps, scope = budget.scope,
    period = budget.period, timezone = budget.timezone, is_enabled = budget.is_enabled
  where r.budget_id = budget.budget_id and r.metric = keep_budget_rule.metric and r.is_managed
  returning r.rule_id into v_rule_id;
  if not found then
    insert into observability.alert_rules as r (
      name, metric, window_s, period, timezone, threshold, steps, scope, is_enabled, budget_id, is_managed
    )
    values (
      v_name, keep_budget_rule.metric,
      case budget.period when 'day' then 86400 when 'week' then 604800 else 2678400 end, budget.period, budget.timezone,
      coalesce(v_steps[1], budget.forecast_step), v_steps, budget.scope, budget.is_enabled, budget.budget_id, true
    )
    returning r.rule_id into v_rule_id;
  end if;
  if channels is not null then
    perform observability_internal.set_rule_channels(v_rule_id, channels);
  end if;
end;
$$;

comment on function observability_internal.keep_budget_rule(observability.budgets, text, boolean, jsonb) is 'Makes a budget''s rule what the budget says, or removes it.';

create function observability.save_budget(budget jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_row observability.budgets;
  v_channels constant jsonb := budget -> 'channels';
begin
  perform observability_internal.require_access('{ops,service}');
  perform observability_internal.check_keys(
    budget, '{budget_id,name,amount,period,timezone,scope,steps,forecast_step,is_enabled,channels}', 'budget'
  );
  if budget ->> 'budget_id' is not null then
    select * into v_row from observability.budgets as b where b.budget_id = (budget ->> 'budget_id')::bigint for update;
    if not found then
      raise exception 'there is no budget %', left(budget ->> 'budget_id', 20) using errcode = '22023';
    end if;
  end if;
  v_row := jsonb_populate_record(
    v_row,
    case when v_row.budget_id is null then
      '{"period": "month", "timezone": "UTC", "steps": [0.5, 0.8, 0.9, 1], "forecast_step": 1, "is_enabled": true}'::jsonb
    else '{}' end || budget
  );
  v_row.scope := observability_internal.normalize_scope(v_row.scope);
  if v_row.budget_id is null then
    insert into observability.budgets as b (name, amount, period, timezone, scope, steps, forecast_step, is_enabled)
    values (
      v_row.name, v_row.amount, v_row.period, v_row.timezone, v_row.scope, v_row.steps, v_row.forecast_step,
      v_row.is_enabled
    )
    returning b.* into v_row;
  else
    update observability.budgets as b
    set
      name = v_row.name, amount = v_row.amount, period = v_row.period, timezone = v_row.timezone, scope = v_row.scope,
      steps = v_row.steps, forecast_step = v_row.forecast_step, is_enabled = v_row.is_enabled
    where b.budget_id = v_row.budget_id
    returning b.* into v_row;
  end if;
  perform observability_internal.keep_budget_rule(v_row, 'budget_used', true, v_channels);
  perform observability_internal.keep_budget_rule(v_row, 'budget_forecast', v_row.forecast_step is not null, v_channels);
  return observability_internal.describe_budget(v_row);
end;
$$;

comment on function observability.save_budget(jsonb) is 'Adds a budget with its rules, or changes the given keys of the one with this budget_id. Ops only. Returns the budget.';

create function observability.delete_budget(budget_id bigint) returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  delete from observability.budgets as b where b.budget_id = delete_budget.budget_id;
  return found;
end;
$$;

comment on function observability.delete_budget(bigint) is 'Deletes a budget with its rules; its alerts stay. Ops only. True when there was one.';

create or replace function observability_internal.describe_channel(channel observability.notification_channels) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'channel_id', channel.channel_id, 'name', channel.name, 'kind', channel.kind,
    'target_hint', channel.target_hint, 'max_per_minute', channel.max_per_minute, 'is_enabled', channel.is_enabled,
    'created_at', channel.created_at, 'created_by', channel.created_by, 'updated_at', channel.updated_at,
    'updated_by', channel.updated_by
  );
$$;

drop function observability_internal.set_channel_target(bigint, text, text);

-- Security definer: the address and the secret go where ops can write but nobody in the app can read.
create function observability_internal.set_channel_target(
  channel_id bigint, target_url text, signing_secret text, sealed text, target_hint text
) returns void
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_old observability_internal.channel_secrets;
  v_vault_id uuid;
  v_document jsonb;
begin
  perform observability_internal.require_access('{ops,service}');
  select * into v_old
  from observability_internal.channel_secrets as s
  where s.channel_id = set_channel_target.channel_id;
  if v_old.channel_id is null and num_nonnulls(target_url, sealed) = 0 then
    raise exception 'a channel needs its target' using errcode = '22023';
  end if;
  if num_nonnulls(target_url, signing_secret, sealed) = 0 then
    return;
  end if;
  if sealed is not null then
    if num_nonnulls(target_url, signing_secret) > 0 or sealed !~ '^[A-Za-z0-9_=-]+$'
      or char_length(sealed) not between 40 and 8000
      or coalesce(char_length(set_channel_target.target_hint), 0) not between 1 and 253
    then
      raise exception 'a sealed target comes alone, with its target_hint' using errcode = '22023';
    end if;
  elsif not observability_internal.has_vault() then
    raise exception 'an address is stored encrypted: set TREERING_SECRET_KEY for the app and the worker'
      using errcode = '22023', hint = 'Make a key with: treering secret-key';
  else
    v_document := coalesce(observability_internal.read_channel_vault(v_old.vault_id), '{}')
      || jsonb_strip_nulls(jsonb_build_object('target_url', target_url, 'signing_secret', signing_secret));
    if coalesce(v_document ->> 'target_url', '') !~ '^[a-z][a-z0-9+.-]*://[^\s]+$' then
      raise exception 'a channel needs its target_url' using errcode = '22023';
    end if;
    execute format('select %I.create_secret($1, $2)', 'vault') into v_vault_id
    using v_document::text, format('treering channel %s %s', channel_id, gen_random_uuid());
  end if;
  insert into observability_internal.channel_secrets as s (channel_id, sealed, vault_id)
  values (set_channel_target.channel_id, set_channel_target.sealed, v_vault_id)
  on conflict (channel_id) do update
  set target_url = null, signing_secret = null, sealed = excluded.sealed, vault_id = excluded.vault_id, changed_at = now();
  if v_old.vault_id is not null then
    execute format('delete from %I.secrets where id = $1', 'vault') using v_old.vault_id;
  end if;
  update observability.notification_channels as c
  set target_hint = coalesce(
    set_channel_target.target_hint,
    case c.kind
      when 'webhook' then lower(substring(v_document ->> 'target_url' from '^https?://(\[[^\]/?#]*\]|[^:/?#]+)'))
      else substring(v_document ->> 'target_url' from '^[a-z0-9+.-]+')
    end
  )
  where c.channel_id = set_channel_target.channel_id;
end;
$$;

comment on function observability_internal.set_channel_target(bigint, text, text, text, text) is 'Stores a channel''s address and secret, sealed by the caller or in Supabase Vault; nothing given keeps what is there. Ops only.';

create or replace function observability.save_notification_channel(channel jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_secrets constant text[] := array['target_url', 'signing_secret', 'sealed', 'target_hint'];
  v_row observability.notification_channels;
  v_secret text := channel ->> 'signing_secret';
  v_own_secret text;
begin
  perform observability_internal.require_access('{ops,service}');
  perform observability_internal.check_keys(
    channel, '{channel_id,name,kind,target_url,signing_secret,sealed,target_hint,max_per_minute,is_enabled}', 'channel'
  );
  if channel ->> 'channel_id' is null then
    v_row := jsonb_populate_record(
      null::observability.notification_channels,
      '{"kind": "webhook", "is_enabled": true, "max_per_minute": 60}'::jsonb || (channel - v_secrets)
    );
    insert into observability.notification_channels as c (name, kind, max_per_minute, is_enabled)
    values (v_row.name, v_row.kind, v_row.max_per_minute, v_row.is_enabled)
    returning c.* into v_row;
    if v_secret is null and channel ->> 'sealed' is null and v_row.kind = 'webhook' then
      v_own_secret := 'whsec_'
        || encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'base64');
      v_secret := v_own_secret;
    end if;
  else
    select * into v_row
    from observability.notification_channels as c
    where c.channel_id = (channel ->> 'channel_id')::bigint
    for update;
    if not found then
      raise exception 'there is no channel %', left(channel ->> 'channel_id', 20) using errcode = '22023';
    end if;
    v_row := jsonb_populate_record(v_row, channel - v_secrets);
    update observability.notification_channels as c
    set name = v_row.name, kind = v_row.kind, max_per_minute = v_row.max_per_minute, is_enabled = v_row.is_enabled
    where c.channel_id = v_row.channel_id
    returning c.* into v_row;
  end if;
  perform observability_internal.set_channel_target(
    v_row.channel_id, channel ->> 'target_url', v_secret, channel ->> 'sealed', channel ->> 'target_hint'
  );
  select * into strict v_row
  from observability.notification_channels as c
  where c.channel_id = v_row.channel_id;
  return observability_internal.describe_channel(v_row)
    || case when v_own_secret is null then '{}'::jsonb else jsonb_build_object('signing_secret', v_own_secret) end;
end;
$$;

comment on function observability.save_notification_channel(jsonb) is 'Adds a channel, or changes the given keys of the one with this channel_id. Ops only. The address comes sealed, or goes to Supabase Vault. Returns the channel; a signing secret made here is shown this once.';

grant execute on function observability_internal.read_rule(jsonb, observability.alert_rules) to authenticated, service_role;

grant execute on function observability_internal.set_rule_channels(bigint, jsonb) to authenticated, service_role;

grant execute on function observability_internal.describe_budget(observability.budgets) to authenticated, service_role;

grant execute on function observability_internal.keep_budget_rule(observability.budgets, text, boolean, jsonb) to authenticated, service_role;

grant execute on function observability.save_budget(jsonb) to authenticated, service_role;

grant execute on function observability.delete_budget(bigint) to authenticated, service_role;

grant execute on function observability_internal.set_channel_target(bigint, text, text, text, text) to authenticated, service_role;
