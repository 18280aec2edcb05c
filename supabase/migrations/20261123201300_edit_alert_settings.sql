-- Purpose: what ops change in Settings: alert rules and notification channels.
-- Locks: ROW EXCLUSIVE on the rows changed.

create function observability_internal.check_keys(document jsonb, allowed text[], what text) returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_unknown text;
begin
  if document is null or jsonb_typeof(document) <> 'object' then
    raise exception 'a % is a JSON object', what using errcode = '22023';
  end if;
  select k.key into v_unknown from jsonb_object_keys(document) as k (key) where k.key <> all (allowed) limit 1;
  if v_unknown is not null then
    raise exception 'unknown key % of a %', left(v_unknown, 100), what using errcode = '22023';
  end if;
end;
$$;

comment on function observability_internal.check_keys(jsonb, text[], text) is 'Refuses (22023) what is not an object, and a key that is not in the list.';

create function observability_internal.describe_rule(rule observability.alert_rules) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'rule_id', rule.rule_id, 'name', rule.name, 'metric', rule.metric, 'window_s', rule.window_s,
    'threshold', rule.threshold::text, 'for_s', rule.for_s, 'minimum_sample', rule.minimum_sample,
    'scope', rule.scope, 'severity', rule.severity, 'is_enabled', rule.is_enabled,
    'channels', (
      select coalesce(jsonb_agg(rc.channel_id order by rc.channel_id), '[]')
      from observability.alert_rule_channels as rc
      where rc.rule_id = rule.rule_id
    ),
    'created_at', rule.created_at, 'created_by', rule.created_by, 'updated_at', rule.updated_at,
    'updated_by', rule.updated_by, 'state', coalesce(s.state, 'ok'), 'pending_since', s.pending_since,
    'value', trim_scale(s.value)::text, 'sample_count', s.sample_count, 'evaluated_at', s.evaluated_at,
    'last_error', s.last_error, 'last_error_at', s.last_error_at
  )
  from (select) as one
  left join observability_internal.alert_states as s on s.rule_id = rule.rule_id and s.group_key = '';
$$;

comment on function observability_internal.describe_rule(observability.alert_rules) is 'A rule with its channels and where it stands; decimals as text.';

create function observability_internal.describe_channel(channel observability.notification_channels) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'channel_id', channel.channel_id, 'name', channel.name, 'kind', channel.kind,
    'target_hint', channel.target_hint, 'is_enabled', channel.is_enabled, 'created_at', channel.created_at,
    'created_by', channel.created_by, 'updated_at', channel.updated_at, 'updated_by', channel.updated_by
  );
$$;

comment on function observability_internal.describe_channel(observability.notification_channels) is 'A channel as ops see it: of the address only the host.';

create function observability_internal.normalize_scope(scope jsonb) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select case
    when scope is null or jsonb_typeof(scope) = 'null' then '{}'::jsonb
    when jsonb_typeof(scope) <> 'object' then scope
    else (
      select
        coalesce(
          jsonb_object_agg(
            e.key, case jsonb_typeof(e.value) when 'string' then jsonb_build_array(e.value) else e.value end
          ), '{}'
        )
      from jsonb_each(scope) as e
      where jsonb_typeof(e.value) <> 'null' and e.value <> '[]'
    )
  end;
$$;

comment on function observability_internal.normalize_scope(jsonb) is 'A scope with every name in a list and without empty dimensions.';

create function observability.save_alert_rule(rule jsonb) returns jsonb
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
  perform observability_internal.check_keys(
    rule,
    '{rule_id,name,metric,window_s,threshold,for_s,minimum_sample,scope,severity,is_enabled,channels}', 'rule'
  );
  if rule ->> 'rule_id' is null then
    v_row := jsonb_populate_record(
      null::observability.alert_rules,
      '{"for_s": 0, "minimum_sample": 1, "severity": "warning", "is_enabled": true}'::jsonb || rule
    );
    insert into observability.alert_rules as r
    (name, metric, window_s, threshold, for_s, minimum_sample, scope, severity, is_enabled)
    values (
      v_row.name, v_row.metric, v_row.window_s, v_row.threshold, v_row.for_s, v_row.minimum_sample,
      observability_internal.normalize_scope(v_row.scope), v_row.severity, v_row.is_enabled
    )
    returning r.* into v_row;
  else
    select * into v_row from observability.alert_rules as r where r.rule_id = (rule ->> 'rule_id')::bigint for update;
    if not found then
      raise exception 'there is no rule %', left(rule ->> 'rule_id', 20) using errcode = '22023';
    end if;
    v_row := jsonb_populate_record(v_row, rule);
    update observability.alert_rules as r
    set
      name = v_row.name, metric = v_row.metric, window_s = v_row.window_s, threshold = v_row.threshold,
      for_s = v_row.for_s, minimum_sample = v_row.minimum_sample,
      scope = observability_internal.normalize_scope(v_row.scope), severity = v_row.severity,
      is_enabled = v_row.is_enabled
    where r.rule_id = v_row.rule_id
    returning r.* into v_row;
  end if;
  if rule ? 'channels' then
    if jsonb_typeof(rule -> 'channels') <> 'array' then
      raise exception 'channels is a list of channel ids' using errcode = '22023';
    end if;
    delete from observability.alert_rule_channels as rc
    where rc.rule_id = v_row.rule_id and not rule -> 'channels' @> to_jsonb(rc.channel_id);
    insert into observability.alert_rule_channels (rule_id, channel_id)
    select v_row.rule_id, element.id::bigint from jsonb_array_elements_text(rule -> 'channels') as element (id)
    on conflict do nothing;
  end if;
  return observability_internal.describe_rule(v_row);
end;
$$;

comment on function observability.save_alert_rule(jsonb) is 'Adds a rule, or changes the given keys of the one with this rule_id. Ops only. Returns the rule.';

create function observability.delete_alert_rule(rule_id bigint) returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  delete from observability.alert_rules as r where r.rule_id = delete_alert_rule.rule_id;
  return found;
end;
$$;

comment on function observability.delete_alert_rule(bigint) is 'Deletes a rule and ends what it has firing; its alerts stay. Ops only. True when there was one.';

-- Security definer: the address and the secret go where ops can write but nobody in the app can read.
create function observability_internal.set_channel_target(channel_id bigint, target_url text, signing_secret text)
returns void
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_target_url constant text := coalesce(
    set_channel_target.target_url,
    (select s.target_url from observability_internal.channel_secrets as s where s.channel_id = set_channel_target.channel_id)
  );
  v_signing_secret constant text := coalesce(
    set_channel_target.signing_secret,
    (select s.signing_secret from observability_internal.channel_secrets as s where s.channel_id = set_channel_target.channel_id)
  );
begin
  perform observability_internal.require_access('{ops,service}');
  begin
    insert into observability_internal.channel_secrets as s (channel_id, target_url, signing_secret)
    values (set_channel_target.channel_id, v_target_url, v_signing_secret)
    on conflict (channel_id) do update
    set target_url = excluded.target_url, signing_secret = excluded.signing_secret, changed_at = now();
  exception
    -- The database's own message quotes the row, and with it the secret.
    when check_violation then
      raise exception 'an address is http:// or https:// without user and password, a signing secret 16 to 200 characters'
        using errcode = '22023', hint = 'After whsec_ a signing secret is base64.';
    when not_null_violation then
      raise exception 'a channel needs its target_url' using errcode = '22023';
  end;
  update observability.notification_channels as c
  set target_hint = lower(substring(v_target_url from '^https?://(\[[^\]/?#]*\]|[^:/?#]+)'))
  where c.channel_id = set_channel_target.channel_id;
end;
$$;

comment on function observability_internal.set_channel_target(bigint, text, text) is 'Stores a channel''s address and secret; null keeps what is there. Ops only.';

create function observability.save_notification_channel(channel jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_row observability.notification_channels;
  v_secret text := channel ->> 'signing_secret';
  v_own_secret text;
begin
  perform observability_internal.require_access('{ops,service}');
  perform observability_internal.check_keys(
    channel, '{channel_id,name,kind,target_url,signing_secret,is_enabled}', 'channel'
  );
  if channel ->> 'channel_id' is null then
    v_row := jsonb_populate_record(
      null::observability.notification_channels,
      '{"kind": "webhook", "is_enabled": true}'::jsonb || (channel - '{target_url,signing_secret}'::text[])
    );
    insert into observability.notification_channels as c (name, kind, is_enabled)
    values (v_row.name, v_row.kind, v_row.is_enabled)
    returning c.* into v_row;
    if v_secret is null then
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
    v_row := jsonb_populate_record(v_row, channel - '{target_url,signing_secret}'::text[]);
    update observability.notification_channels as c
    set name = v_row.name, kind = v_row.kind, is_enabled = v_row.is_enabled
    where c.channel_id = v_row.channel_id
    returning c.* into v_row;
  end if;
  perform observability_internal.set_channel_target(v_row.channel_id, channel ->> 'target_url', v_secret);
  select * into strict v_row
  from observability.notification_channels as c
  where c.channel_id = v_row.channel_id;
  return observability_internal.describe_channel(v_row)
    || case when v_own_secret is null then '{}'::jsonb else jsonb_build_object('signing_secret', v_own_secret) end;
end;
$$;

comment on function observability.save_notification_channel(jsonb) is 'Adds a channel, or changes the given keys of the one with this channel_id. Ops only. Returns the channel without its address; a signing secret made here is shown this once.';

create function observability.delete_notification_channel(channel_id bigint) returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  delete from observability.notification_channels as c where c.channel_id = delete_notification_channel.channel_id;
  return found;
end;
$$;

comment on function observability.delete_notification_channel(bigint) is 'Deletes a channel with its secret; rules lose it, waiting messages die. Ops only. True when there was one.';

grant execute on function observability_internal.check_keys(jsonb, text[], text) to authenticated, service_role;

grant execute on function observability_internal.describe_rule(observability.alert_rules) to authenticated, service_role;

grant execute on function observability_internal.describe_channel(observability.notification_channels) to authenticated, service_role;

grant execute on function observability_internal.normalize_scope(jsonb) to authenticated, service_role;

grant execute on function observability_internal.set_channel_target(bigint, text, text) to authenticated, service_role;

grant execute on function observability.save_alert_rule(jsonb) to authenticated, service_role;

grant execute on function observability.delete_alert_rule(bigint) to authenticated, service_role;

grant execute on function observability.save_notification_channel(jsonb) to authenticated, service_role;

grant execute on function observability.delete_notification_channel(bigint) to authenticated, service_role;
