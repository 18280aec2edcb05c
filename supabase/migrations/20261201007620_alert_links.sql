-- Acknowledge and silence by a link from a message: signed, used once, expiring.
-- Locks: none; it only creates.

create table observability_internal.link_keys (
  key_id boolean not null default true,
  secret bytea not null,
  constraint link_keys_pkey primary key (key_id),
  constraint "there is one key" check (key_id),
  constraint "a key has 32 bytes" check (octet_length(secret) = 32)
);

comment on table observability_internal.link_keys is 'What links of messages are signed with. Nobody but the functions reads it.';

alter table observability_internal.link_keys enable row level security;

insert into observability_internal.link_keys (secret) values (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

create table observability_internal.used_links (
  notification_id bigint not null,
  action text not null,
  used_at timestamptz not null,
  used_by text not null,
  constraint used_links_pkey primary key (notification_id, action),
  constraint used_links_notification_id_fkey foreign key (notification_id)
  references observability_internal.notifications (notification_id) on delete cascade,
  constraint "a link acknowledges or silences" check (action in ('acknowledge', 'silence'))
);

comment on table observability_internal.used_links is 'Links of messages that somebody has used, so that none works twice.';

alter table observability_internal.used_links enable row level security;

-- Security definer: nobody reads the key; what leaves is a signature.
create function observability_internal.sign_link(content text) returns text
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_key bytea;
  v_inner bytea;
  v_outer bytea;
begin
  -- HMAC-SHA256 (RFC 2104): the key is 32 bytes, a block 64.
  select k.secret || decode(repeat('00', 32), 'hex') into strict v_key from observability_internal.link_keys as k;
  v_inner := v_key;
  v_outer := v_key;
  for i in 0..63 loop
    v_inner := set_byte(v_inner, i, get_byte(v_key, i) # 54);
    v_outer := set_byte(v_outer, i, get_byte(v_key, i) # 92);
  end loop;
  return encode(sha256(v_outer || sha256(v_inner || convert_to(content, 'UTF8'))), 'hex');
end;
$$;

comment on function observability_internal.sign_link is 'HMAC-SHA256 of a text with the key of links, in hex.';
revoke execute on function observability_internal.sign_link from public;
grant execute on function observability_internal.sign_link to service_role;

create function observability_internal.message_link(notification_id bigint, action text, expires_at timestamptz) returns text
language sql
stable
security invoker
set search_path = ''
as $$
  select l.content || '.' || observability_internal.sign_link(l.content)
  from (
    select concat_ws('.', message_link.action, message_link.notification_id, extract(epoch from expires_at)::bigint) as content
  ) as l;
$$;

comment on function observability_internal.message_link is 'The signed key of a link: action, message, end and signature.';
revoke execute on function observability_internal.message_link from public;
grant execute on function observability_internal.message_link to service_role;

create function observability_internal.message_links(message observability_internal.notifications) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select case when message.event in ('firing', 'escalated', 'reminder') then jsonb_build_object(
    'acknowledge', observability_internal.message_link(
      message.notification_id, 'acknowledge', message.created_at + interval '3 days'
    ),
    'silence', observability_internal.message_link(message.notification_id, 'silence', message.created_at + interval '3 days')
  ) else '{}' end;
$$;

comment on function observability_internal.message_links is 'What a click on a message does, by action; none for messages about an end.';
revoke execute on function observability_internal.message_links from public;
grant execute on function observability_internal.message_links to service_role;

create function observability_internal.linked_alerts(bundle uuid) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'rule_id', max(a.rule_id), 'rule_name', max(a.rule_name), 'alerts', count(*),
    'firing', count(*) filter (where a.state = 'firing'),
    'unacknowledged', count(*) filter (where a.state = 'firing' and a.acknowledged_at is null),
    'group_by', max(a.group_by), 'group_key', case when count(*) = 1 then max(a.group_key) end,
    'severity', min(a.severity), 'started_at', min(a.started_at)
  )
  from observability_internal.alerts as a
  where a.bundle = linked_alerts.bundle;
$$;

comment on function observability_internal.linked_alerts is
'What a link is about: {rule_id, rule_name, alerts, firing, unacknowledged, group_by, group_key, severity, started_at}.';
revoke execute on function observability_internal.linked_alerts from public;
grant execute on function observability_internal.linked_alerts to service_role;

-- Security definer: who holds a link may do what it says without being ops, and may see what it is about.
create function observability.read_alert_link(link text) returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_parts constant text[] := regexp_match(link, '^((acknowledge|silence)\.([0-9]{1,18})\.([0-9]{1,12}))\.([0-9a-f]{64})$');
  v_message observability_internal.notifications;
  v_used observability_internal.used_links;
begin
  perform observability_internal.require_access('{member,analyst,ops,service}');
  if v_parts is null or observability_internal.sign_link(v_parts[1]) <> v_parts[5] then
    raise exception 'this link is not one of ours' using errcode = '22023';
  end if;
  select * into v_message from observability_internal.notifications as n where n.notification_id = v_parts[3]::bigint;
  if v_message.bundle is null then
    raise exception 'what this link is about has been deleted' using errcode = '22023';
  end if;
  select * into v_used
  from observability_internal.used_links as u
  where u.notification_id = v_message.notification_id and u.action = v_parts[2];
  return observability_internal.linked_alerts(v_message.bundle) || jsonb_build_object(
    'action', v_parts[2], 'notification_id', v_message.notification_id, 'bundle', v_message.bundle,
    'expires_at', to_timestamp(v_parts[4]::bigint), 'is_expired', to_timestamp(v_parts[4]::bigint) <= clock_timestamp(),
    'used_at', v_used.used_at, 'used_by', v_used.used_by
  );
end;
$$;

comment on function observability.read_alert_link is
'What a link of a message would do, for whoever is signed in and has it: {action, rule_name, alerts, firing, unacknowledged, '
'group_key, severity, started_at, expires_at, is_expired, used_at, used_by, …}. Refuses (22023) what we have not signed.';
revoke execute on function observability.read_alert_link from public;
grant execute on function observability.read_alert_link to authenticated, service_role;

-- Security definer: as read_alert_link.
create function observability.use_alert_link(link text, note text default null) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_actor constant text := coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role');
  v_link constant jsonb := observability.read_alert_link(link);
  v_alert_id bigint;
begin
  if (v_link ->> 'is_expired')::boolean then
    raise exception 'this link has expired' using errcode = '22023';
  end if;
  insert into observability_internal.used_links (notification_id, action, used_at, used_by)
  values ((v_link ->> 'notification_id')::bigint, v_link ->> 'action', clock_timestamp(), v_actor)
  on conflict do nothing;
  if not found then
    raise exception 'this link was used before' using errcode = '22023';
  end if;
  if v_link ->> 'action' = 'silence' then
    insert into observability_internal.alert_silences (rule_id, group_key, ends_at, note, created_by)
    select
      r.rule_id, nullif(v_link ->> 'group_key', ''), clock_timestamp() + interval '1 day',
      coalesce(nullif(trim(note), ''), 'by the link of a message'), v_actor
    from observability_internal.alert_rules as r
    where r.rule_id = (v_link ->> 'rule_id')::bigint;
  else
    for v_alert_id in
      select a.alert_id from observability_internal.alerts as a
      where a.bundle = (v_link ->> 'bundle')::uuid and a.state = 'firing' and a.acknowledged_at is null
      order by a.alert_id
    loop
      perform observability_internal.acknowledge(v_alert_id, note, v_actor);
    end loop;
  end if;
  return v_link || jsonb_build_object('used_by', v_actor);
end;
$$;

comment on function observability.use_alert_link is
'Does what a link of a message says, once: acknowledges all that it is about, or silences it for a day. For whoever is signed in '
'and has it. Refuses (22023) a link that was used, has expired or is not ours.';
revoke execute on function observability.use_alert_link from public;
grant execute on function observability.use_alert_link to authenticated, service_role;
