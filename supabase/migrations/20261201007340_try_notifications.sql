-- How ops send a message again and try a channel.
-- Locks: none; it only creates.

-- Security definer: ops may send a dead message again without a right to write the outbox.
create function observability.resend_notification(notification_id bigint) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  update observability_internal.notifications as n
  set
    state = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), first_attempt_at = null, leased_by = null,
    leased_until = null
  where n.notification_id = resend_notification.notification_id and n.state = 'dead' and n.channel_id is not null;
  return found;
end;
$$;

comment on function observability.resend_notification is
'Puts a dead message back into the outbox, with the same idempotency key. Ops only. False where none was dead.';
revoke execute on function observability.resend_notification from public;
grant execute on function observability.resend_notification to authenticated, service_role;

-- Security definer: ops may try a channel without a right to write the outbox.
create function observability.send_test_notification(channel_id bigint default null, rule_id bigint default null)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule observability_internal.alert_rules;
  v_sent jsonb;
begin
  perform observability_internal.require_access('{ops,service}');
  if num_nonnulls(send_test_notification.channel_id, send_test_notification.rule_id) <> 1 then
    raise exception 'a test is of a channel or of a rule' using errcode = '22023';
  end if;
  if send_test_notification.rule_id is not null then
    select * into v_rule from observability_internal.alert_rules as r where r.rule_id = send_test_notification.rule_id;
    if not found then
      raise exception 'there is no rule %', send_test_notification.rule_id using errcode = '22023';
    end if;
  end if;
  with targets as (
    select c.*
    from observability_internal.notification_channels as c
    where c.channel_id = send_test_notification.channel_id or exists (
      select from observability_internal.alert_rule_channels as rc
      where rc.rule_id = send_test_notification.rule_id and rc.channel_id = c.channel_id
    )
  ),
  written as (
    insert into observability_internal.notifications as n
    (channel_id, channel_name, event, payload, next_attempt_at, created_at)
    select
      t.channel_id, t.name, 'test',
      jsonb_build_object(
        'schema', 'treering.alert/1', 'event', 'test', 'occurred_at', clock_timestamp(), 'channel', t.name,
        'rule', case when v_rule.rule_id is not null then observability_internal.describe_rule(v_rule) end
      ),
      clock_timestamp(), clock_timestamp()
    from targets as t
    returning n.notification_id, n.channel_name
  )
  select coalesce(jsonb_agg(to_jsonb(w) order by w.notification_id), '[]') into v_sent from written as w;
  return v_sent;
end;
$$;

comment on function observability.send_test_notification is
'Writes a marked test message for a channel, or for every channel of a rule: [{notification_id, channel_name}]. Ops '
'only.';
revoke execute on function observability.send_test_notification from public;
grant execute on function observability.send_test_notification to authenticated, service_role;

create function observability.get_notification_states(notification_ids jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  perform observability_internal.require_access('{ops,service}');
  return coalesce((
    select jsonb_agg(jsonb_build_object(
      'notification_id', n.notification_id, 'channel_name', n.channel_name, 'state', n.state, 'attempts', n.attempts,
      'last_error', n.last_error
    ) order by n.notification_id)
    from observability_internal.notifications as n
    where n.notification_id in (select e.number::bigint from jsonb_array_elements_text(notification_ids) as e (number))
  ), '[]');
end;
$$;

comment on function observability.get_notification_states is 'What became of messages: [{notification_id, channel_name, state, attempts, last_error}].';
revoke execute on function observability.get_notification_states from public;
grant execute on function observability.get_notification_states to authenticated, service_role;
