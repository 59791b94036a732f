"""The checkup of an installation: `examine` looks at everything that has to be right, from where it is run."""

from service.doctor.examine import examine as examine
